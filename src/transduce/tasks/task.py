"""The contract of tasks.

An objective says what the gradient is of. A task says which columns are read, which examples they become, how good a
model is, and what it predicts. Validation, `evaluate`, `td.load(...)` and the commands all call the same `predict`.

Tested in tests/tasks/test_laws.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from transduce.config import Part, UnknownKind, kinds, nearest, to_data
from transduce.data.columns import Columns, required
from transduce.data.examples import Examples
from transduce.data.loader import BatchConfig, Loader
from transduce.data.mixed import loader_of
from transduce.data.readers.reader import Reader, Readers
from transduce.data.source import DataConfig
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.inputs import Vocabulary
from transduce.generate.score import Scores
from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.tasks.measures.loss import LossMeasure
from transduce.tasks.measures.measure import Grid, Measure, Sample
from transduce.text.chat import Chat
from transduce.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Split:
    """A split in the forms that an evaluation needs. name: train, valid or test."""

    name: str
    columns: Columns
    examples: Examples
    loader: Loader


@dataclass(frozen=True, kw_only=True)
class TaskConfig(Part, ABC):
    """The task that a model is trained for."""

    folder: ClassVar[str] = "transduce.tasks"
    reads: ClassVar[tuple[str, ...]]  # the columns that a table must have for it, the input first; last those it may
    verb: ClassVar[str]  # the command, and the method of what `td.load` returns
    shape: ClassVar[str]  # the kind of model that an architecture's name stands for
    unit: ClassVar[str] = "token"  # the name of one target
    gives: ClassVar[str] = ""  # the kind of its predictions, which measures look at; "": they cannot be compared
    refusal: ClassVar[str] = ""  # the message where a model that was trained for this task is asked to do another one
    reads_text: ClassVar[bool] = True  # a recipe must then have a tokeniser
    sees: ClassVar[bool] = False  # it reads pictures
    hears: ClassVar[bool] = False  # it reads sounds
    acts: ClassVar[bool] = False  # it reads episodes
    rewarded: ClassVar[bool] = False  # so that a model can learn from rewards of its own answers
    replies: ClassVar[bool] = False  # a model answers a source, and the tokeniser says how an answer begins
    embeds: ClassVar[bool] = False  # it has `vectors` of texts
    embeds_inputs: ClassVar[bool] = False  # and of its inputs, such as pictures, in the same space
    takes_inputs: ClassVar[bool] = True  # the command that uses a model is given something to work on
    tabular: ClassVar[bool] = True  # samples are rows of an input and the expected output, not texts with continuations

    @classmethod
    def objective(cls, model_kind: str) -> str:
        """Returns the objective of a recipe that names none. model_kind: of the recipe's model."""
        raise AssertionError("a kind of TaskConfig defines objective")

    @classmethod
    def completed(cls, section: Mapping[str, Any], model_kind: str) -> dict[str, Any]:
        """Returns plain data of the task in a recipe, with what follows from the kind of its model."""
        return dict(section)

    @classmethod
    def goes_on(cls, kind: str, there: str) -> bool:
        """Says whether a model is trained further whole that does this task in another way than the recipe's.

        kind, there: of the model of a recipe, and of the one that it starts from.
        """
        return False

    def suited(self, data: DataConfig) -> Self:
        """Returns the task adapted to the kind of the data. Raises UserError where they do not fit."""
        if data.gives is not None and data.gives != self.reads:
            here, there = " and ".join(required(self.reads)), " and ".join(data.gives)
            raise UserError(
                f"task={self.kind} learns from {here}, but data.kind={data.kind} gives {there}; {self.way(data)}"
            )
        return self

    def way(self, data: DataConfig) -> str:
        """Returns advice for a user whose data do not fit the task, as part of a sentence."""
        return f"use task={data.task_of(to_data(data))}, or data that have {' and '.join(required(self.reads))}"

    def readers(self, train: Columns) -> dict[str, Reader]:
        """Returns the readers of all columns but text, fitted to the training data. Raises UserError."""
        return {}

    def inputs(self, columns: Columns) -> Sequence[Any]:
        """Returns what `predict` is given for each row."""
        return columns.given

    def texts(self, columns: Columns) -> Iterable[str]:
        """Returns the texts that a tokeniser is trained on; none where the task reads no text."""
        return [text for name in self.reads for text in columns[name]] if self.reads_text else []

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        """Returns splits without what cannot be read, and a sentence for each thing that `doctor` is to say of them."""
        return splits, []

    def remarks(self, readers: Readers) -> list[str]:
        """Returns a sentence on each choice that was made about how columns are read."""
        return []

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the ids that a model reads before and after a text."""
        return tokenizer.marks.before, tokenizer.marks.after

    def conversing(self, tokenizer: Tokenizer) -> Chat | None:
        """Returns how conversations are written for this task; None: it has none."""
        return None

    def written(self, readers: Readers) -> Vocabulary:
        """Returns the tokeniser, with every token that ends what a model writes."""
        return readers.text

    def begins(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """Returns the ids that every answer begins with; none where a model continues a prompt, or writes nothing."""
        return tokenizer.marks.opens if self.replies else ()

    def size(self, readers: Readers) -> int:
        """Returns the size of a model's input: of the vocabulary, or how many numbers one input step has."""
        return readers.text.vocab_size

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the model adapted to the readers, such as to the number of classes. Raises UserError."""
        return model

    @abstractmethod
    def check(self, model: Model, readers: Readers) -> None:
        """Raises UserError where a model cannot do this task."""

    @abstractmethod
    def examples(self, columns: Columns, readers: Readers) -> Examples:
        """Returns the examples of a split, which a model reads. Raises UserError."""

    def unlearnable(self, model: ModelConfig, readers: Readers, name: str, examples: Examples) -> list[str]:
        """Returns a sentence for each reason why such a model cannot learn from examples of a split of that name."""
        return []

    @abstractmethod
    def measures(self) -> tuple[Measure, ...]:
        """Returns the measures of a validation, beside the loss; the first selects the best model."""

    def reported(self) -> tuple[Measure, ...]:
        """Returns further measures, which a full evaluation has beside `measures`."""
        return ()

    def selects(self, kind: str, split: Columns, decoded: int) -> tuple[Measure, list[str]]:
        """Returns the measure that selects the best model, and remarks about it. Raises UserError.

        kind: of the measure, or auto.
        split: the rows of the validation.
        decoded: how many of these rows a model predicts.
        """
        own = {measure.kind: measure for measure in (LossMeasure(), *self.measures())}
        if kind == "auto":
            return next(iter(self.measures()), LossMeasure()), []
        if kind in own:
            return own[kind], []
        known = kinds(Measure.folder)
        if kind not in known:
            guess = nearest(kind, list(known))
            way = f"did you mean `{guess}`?" if guess else f"use one of {', '.join(known)}"
            unknown = UnknownKind(f"train.metric={kind} is not a measure; {way}")
            unknown.key = f"{Measure.folder}.{kind}"
            raise unknown
        measure = known[kind]()
        assert isinstance(measure, Measure)
        if measure.of_what not in ("", self.gives):
            use = ", ".join(own)
            raise UserError(f"train.metric={kind} looks at predictions that task={self.kind} does not make; use {use}")
        return measure, []

    def expand(self, words: Sequence[str]) -> list[str]:
        """Returns the inputs that the words of a command stand for."""
        return list(words)

    def line(self, prediction: Any) -> str:
        """Returns a prediction as text, for the command `predict`."""
        return str(prediction)

    @abstractmethod
    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[Any]:  # fmt: skip
        """Returns a prediction for each input, in order."""

    def reads_as(self, readers: Readers, text: str, options: GenerateConfig) -> tuple[list[int] | None, list[int]]:
        """Returns how a model that writes reads a text: ids of a source, if any, and of what it goes on from.

        Raises UserError, also where this task writes no text.
        """
        raise UserError(f"this model was trained for task={self.kind}, which writes no text; use {self.verb}")

    def looks_at(self, readers: Readers, text: str, answer: str | None) -> tuple[list[int] | None, list[int]]:
        """Returns ids of a source, if any, and of what is read after it, to look inside a model. answer: to the text.

        Raises UserError for an answer where none is read.
        """
        if answer is not None:
            raise UserError("this model reads no source that a target would answer; give the text alone")
        before, after = self.around(readers.text)
        return None, [*before, *readers.text.encode(text), *after]

    def scores_as(self, readers: Readers, row: Any) -> tuple[list[int] | None, list[int], int]:
        """Returns what `score` gives log p of: ids of a source and of a text, and how many stand before it.

        Raises UserError, also where this task gives texts no score.
        """
        raise UserError(f"this model was trained for task={self.kind}, which gives texts no score; use {self.verb}")

    def score(self, model: Model, readers: Readers, rows: Iterable[Any]) -> list[Scores]:
        """Returns log p of texts in nats, in order. Raises UserError, also where this task gives texts no score."""
        raise UserError(f"this model was trained for task={self.kind}, which gives texts no score; use {self.verb}")

    def vectors(self, model: Model, readers: Readers, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns (texts, features) float32, where the task `embeds`."""
        raise AssertionError("a kind of TaskConfig that embeds defines vectors")

    def vectors_of_inputs(self, model: Model, readers: Readers, inputs: Sequence[Any]) -> NDArray[np.float32]:
        """Returns (inputs, features) float32, where the task `embeds_inputs`."""
        raise AssertionError("a kind of TaskConfig that embeds inputs defines vectors_of_inputs")

    def command(self, model: ModelConfig) -> str | None:
        """Returns the command that uses such a model; None: the task's command writes, and this model cannot."""
        return self.verb

    @abstractmethod
    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:  # fmt: skip
        """Returns predictions beside what was expected, for `limit` rows of a split, evenly spread (None: for all)."""

    def grid(self, samples: Sequence[Sample]) -> Grid | None:
        """Returns a table of counts, expected by predicted (None: predictions are not one of a few classes)."""
        return None

    def validation(self, options: GenerateConfig) -> GenerateConfig:
        """Returns the settings with which a model decodes in a validation, where speed counts."""
        return options

    def bytes(self, columns: Columns) -> int:
        """Returns the UTF-8 bytes of the text whose tokens are the targets; 0: the targets are not text."""
        return 0

    def split(
        self, name: str, columns: Columns, readers: Readers, batch: BatchConfig, seed: int
    ) -> Split:  # fmt: skip
        """Returns a split for evaluation. Raises UserError where it is empty.

        batch: how batches are filled; its packing and its worker threads are not used.
        """
        examples = self.examples(columns, readers)
        if not len(examples):
            raise UserError(f"there is no text in {name}; give a file with text in it, or leave it out")
        loader = loader_of(examples, replace(batch, packing=False, workers=0), seed=seed, columns=columns)
        return Split(name, columns, examples, loader)


def spread(count: int, limit: int | None) -> list[int]:
    """Returns `limit` of the numbers 0..count-1, evenly spread."""
    chosen = count if limit is None else min(limit, count)
    return [i * count // chosen for i in range(chosen)]
