"""The contract of tasks: what a user gets of a model.

An objective says what the gradient is of. A task says which columns are read, what examples are made of them, how good
a model is, and what it predicts; validation, `evaluate`, `td.load(...)` and the commands all call the same `predict`.

Tested in tests/tasks/test_laws.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from transduce.config import Part, UnknownKind, kinds, nearest
from transduce.data.columns import Columns
from transduce.data.examples import Examples
from transduce.data.loader import BatchConfig, Loader
from transduce.data.readers.reader import Reader, Readers
from transduce.data.source import DataConfig
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.score import Scores
from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.tasks.measures.loss import LossMeasure
from transduce.tasks.measures.measure import Grid, Measure, Sample
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
    """Which task."""

    folder: ClassVar[str] = "transduce.tasks"
    reads: ClassVar[tuple[str, ...]]  # the columns that a table must have for it, what is given first
    verb: ClassVar[str]  # the command, and the method of what `td.load` returns
    shape: ClassVar[str]  # the kind of model that an architecture's name stands for
    unit: ClassVar[str] = "token"  # what a target is
    gives: ClassVar[str] = ""  # the kind of its predictions, which measures look at; "": none that can be compared
    refusal: ClassVar[str] = ""  # what is said where another task is asked of a model that was trained for this one
    reads_text: ClassVar[bool] = True  # so that a recipe must have a tokeniser
    replies: ClassVar[bool] = False  # what a model writes answers a source, and begins as the tokeniser has it
    tabular: ClassVar[bool] = True  # samples are inputs beside what was expected, not texts that go on

    @classmethod
    def objective(cls, model_kind: str) -> str:
        """The objective that a recipe has where it names none. model_kind: of the recipe's model."""
        raise AssertionError("a kind of TaskConfig defines objective")

    def suited(self, data: DataConfig) -> Self:
        """Returns the same with what follows from the kind of the data. Raises UserError where they do not fit."""
        if data.gives is not None and data.gives != self.reads:
            here, there = " and ".join(self.reads), " and ".join(data.gives)
            raise UserError(
                f"task={self.kind} learns from {here}, but data.kind={data.kind} gives {there}; {self.way(data)}"
            )
        return self

    def way(self, data: DataConfig) -> str:
        """What to do where data do not fit."""
        return f"use task={data.task}, or data that have {' and '.join(self.reads)}"

    def readers(self, train: Columns) -> dict[str, Reader]:
        """The readers of all columns but text, fitted to the training data."""
        return {}

    def texts(self, columns: Columns) -> Iterable[str]:
        """Returns the texts that a tokeniser is made of; none where the task reads no text."""
        return [text for name in self.reads for text in columns[name]] if self.reads_text else []

    def remarks(self, readers: Readers) -> list[str]:
        """Returns a sentence for each thing that was decided about how columns are read."""
        return []

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids before and after a text, as a model reads it."""
        return tokenizer.marks.before, tokenizer.marks.after

    def begins(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """The ids that every answer begins with; none where a model goes on from a prompt, or writes nothing."""
        return tokenizer.marks.opens if self.replies else ()

    def size(self, readers: Readers) -> int:
        """What a model's embedding is made for: the vocabulary, or the numbers that an input has."""
        return readers.text.vocab_size

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns a model with what follows from the readers, such as the number of classes."""
        return model

    @abstractmethod
    def check(self, model: Model, readers: Readers) -> None:
        """Raises UserError where a model cannot do this task."""

    @abstractmethod
    def examples(self, columns: Columns, readers: Readers) -> Examples:
        """Returns a split as a model reads it. Raises UserError."""

    @abstractmethod
    def measures(self) -> tuple[Measure, ...]:
        """What validation measures beside the loss; the first selects the best model."""

    def reported(self) -> tuple[Measure, ...]:
        """What a full evaluation measures beside these."""
        return ()

    def selects(self, asked: str, split: Columns, decoded: int) -> tuple[Measure, list[str]]:
        """The measure that selects the best model, and remarks about it. asked: its kind, or auto.

        split: what is validated on. decoded: how many rows of it a model predicts. Raises UserError.
        """
        own = {measure.kind: measure for measure in (LossMeasure(), *self.measures())}
        if asked == "auto":
            return next(iter(self.measures()), LossMeasure()), []
        if asked in own:
            return own[asked], []
        known = kinds(Measure.folder)
        if asked not in known:
            guess = nearest(asked, list(known))
            way = f"did you mean `{guess}`?" if guess else f"use one of {', '.join(known)}"
            unknown = UnknownKind(f"train.metric={asked} is not a measure; {way}")
            unknown.key = f"{Measure.folder}.{asked}"
            raise unknown
        measure = known[asked]()
        assert isinstance(measure, Measure)
        if measure.of_what not in ("", self.gives):
            use = ", ".join(kind for kind in own)
            raise UserError(f"train.metric={asked} looks at predictions that task={self.kind} does not make; use {use}")
        return measure, []

    def line(self, prediction: Any) -> str:
        """Returns a prediction as text, for the command `predict`."""
        return str(prediction)

    @abstractmethod
    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[Any]:  # fmt: skip
        """What the model gives for each input, in order."""

    def score(self, model: Model, readers: Readers, rows: Iterable[Any]) -> list[Scores]:
        """log p of texts in nats, in order. Raises UserError, also where this task gives texts none."""
        raise UserError(f"this model was trained for task={self.kind}, which gives texts no score; use {self.verb}")

    def command(self, model: ModelConfig) -> str | None:
        """The command by which such a model is used; None: it does not write, as the task's own command asks of it."""
        return self.verb

    @abstractmethod
    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:  # fmt: skip
        """What the model gives for `limit` rows of a split, evenly spread (None: for all), with what was expected."""

    def grid(self, samples: Sequence[Sample]) -> Grid | None:
        """What was expected against what was predicted, counted; None: predictions are not of a few kinds."""
        return None

    def validation(self, options: GenerateConfig) -> GenerateConfig:
        """How a model decodes in a validation, where speed counts."""
        return options

    def bytes(self, columns: Columns) -> int:
        """UTF-8 bytes of the text whose tokens are the targets; 0: the targets are no text."""
        return 0

    def split(
        self, name: str, columns: Columns, readers: Readers, batch: BatchConfig, seed: int
    ) -> Split:  # fmt: skip
        """A split for evaluation. batch: how, but for packing and threads. Raises UserError where it is empty."""
        examples = self.examples(columns, readers)
        if not len(examples):
            raise UserError(f"there is no text in {name}; give a file with text in it, or leave it out")
        loader = Loader(examples, replace(batch, packing=False, workers=0), seed=seed)
        return Split(name, columns, examples, loader)


def spread(count: int, limit: int | None) -> list[int]:
    """`limit` of 0..count-1, evenly spread."""
    chosen = count if limit is None else min(limit, count)
    return [i * count // chosen for i in range(chosen)]
