"""Classification: which of a few labels a text has."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch

from transduce.config import kinds
from transduce.data import pieces
from transduce.data.columns import TEXT, Columns
from transduce.data.examples import Encoded, Index, Ragged, ids
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.readers.labels import SHOWN, Labels
from transduce.data.readers.reader import Reader, Readers
from transduce.data.rows import Padded, Rows
from transduce.errors import Notice, UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.inputs import pad
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.architecture.decoder import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.model.models import Model
from transduce.tasks.measures.classes import Accuracy, MacroF1, Matthews, confusion
from transduce.tasks.measures.measure import Grid, Measure, Sample
from transduce.tasks.task import Split, TaskConfig
from transduce.text.tokenizer import Tokenizer

LABEL = "label"
SLOTS = 8192  # of a batch of texts that are classified together


class Classified(NamedTuple):
    """The label of a text; "" for a text of blanks, which has none.

    probability: of that label.
    probabilities: of all labels, the likeliest first.
    """

    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Labelled:
    """Texts as ids, with the special tokens around them, and the class of each as a number."""

    beside: ClassVar[int] = 0  # tokens of a row that are not among its ids

    texts: Ragged
    classes: Index
    marks: tuple[int, int]  # tokens before each text, and behind it
    pad: int

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {TEXT: self.texts}

    def cuts(self, config: BatchConfig) -> bool:
        return True

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            raise UserError("batch.packing=true puts several texts in a row, but a label belongs to one; leave it out")
        rows = pieces.with_values(self.texts, self.classes, self.pad, config.max_length, self.marks[1], drop)
        return Padded(rows, config.batch_tokens)


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(TaskConfig):
    """A text, and one of a few labels.

    label_end: a label ends before the first of these marks, such as ":" in DESC:manner (None: it is taken as it is).
    many_numbers: labels that are numbers are classes, even where nearly every row has a number of its own.
    """

    kind: ClassVar[str] = "classify"
    reads: ClassVar[tuple[str, ...]] = (TEXT, LABEL)
    verb: ClassVar[str] = "classify"
    shape: ClassVar[str] = "encoder"
    unit: ClassVar[str] = "text"
    gives: ClassVar[str] = "class"
    label_end: str | None = None
    many_numbers: bool = False

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "classification"

    def readers(self, train: Columns) -> dict[str, Reader]:
        labels = Labels(end=self.label_end).fit(train[LABEL], LABEL)
        if labels.scattered(len(train)) and not self.many_numbers:
            what = f"the column `{LABEL}` of train holds {labels.size:,} different numbers in {len(train):,} rows"
            raise UserError(f"{what}, too many for classes; {numbers()}; task.many_numbers=true makes a class of each")
        return {LABEL: labels}

    def remarks(self, readers: Readers) -> list[str]:
        labels = cast(Labels, readers[LABEL])
        shown = ", ".join(labels.names[:SHOWN]) + (", ..." if labels.size > SHOWN else "")
        note = f"the labels ({shown}) are numbers and are taken for {labels.size:,} classes, without order; {numbers()}"
        return [note] if labels.numeric else []

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the ids before and after a text: <s> and </s>, if the tokeniser was trained here."""
        return (tokenizer.marks.opens, tokenizer.marks.after) if tokenizer.made_here else super().around(tokenizer)

    def texts(self, columns: Columns) -> Sequence[str]:
        return texts_of(columns[TEXT])

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the model with a head of one output per label, in the place of a head that predicts tokens."""
        count = readers[LABEL].size
        if isinstance(model, EncoderDecoderConfig):
            raise UserError("task=classify reads a text with one stack; choose model.kind=encoder, or decoder")
        if not isinstance(model.head, ClassesHeadConfig):
            pool = ("last",) if isinstance(model, DecoderConfig) else ("mean",)
            return replace(model, head=ClassesHeadConfig(classes=count, pool=pool))
        if model.head.classes not in (None, count):
            raise UserError(f"model.head.classes={model.head.classes}, but the data have {count} labels; leave it out")
        return replace(model, head=replace(model.head, classes=count))

    def check(self, model: Model, readers: Readers) -> None:
        head = model.pooled_head
        if head.size != readers[LABEL].size:
            raise UserError(f"the head has {head.size} outputs, but there are {readers[LABEL].size} labels")

    def examples(self, columns: Columns, readers: Readers) -> Labelled:
        before, after = self.around(readers.text)
        tokenizer = readers.text
        texts = ids(texts_of(columns[TEXT]), tokenizer).between(before, after)
        return Labelled(texts, readers[LABEL].encode(columns[LABEL], LABEL), (len(before), len(after)), tokenizer.pad)

    def measures(self) -> tuple[Measure, ...]:
        return MacroF1(), Accuracy()

    def reported(self) -> tuple[Measure, ...]:
        return (Matthews(),)

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[str], options: GenerateConfig
    ) -> list[Classified]:  # fmt: skip
        """Returns the label of each text. A text longer than the model's positions loses its end, with a `Notice`."""
        names = cast(Labels, readers[LABEL]).names
        full = [i for i, text in enumerate(inputs) if text.strip()]
        logits = dict(zip(full, self.logits(model, readers, [inputs[i] for i in full]), strict=True))
        return [classified(names, logits[i]) if i in logits else Classified("", 0.0, {}) for i in range(len(inputs))]

    @torch.inference_mode()
    def logits(self, model: Model, readers: Readers, texts: Sequence[str]) -> list[list[float]]:
        """Returns the logit of each class for each text, computed in batches of similar lengths."""
        before, after = self.around(readers.text)
        rows = [[*before, *row, *after] for row in readers.text.encode_batch(texts)]
        if (most := model.limit) is not None and (long := [i for i, row in enumerate(rows) if len(row) > most]):
            what = f"text {long[0]} has {len(rows[long[0]])} tokens" + (", others too many" if len(long) > 1 else "")
            warnings.warn(f"{what}, but the model reads {most}; the rest is cut off", Notice, stacklevel=3)
            rows = [[*row[: most - len(after)], *after] if len(row) > most else row for row in rows]
        order, out = sorted(range(len(rows)), key=lambda i: len(rows[i])), dict[int, list[float]]()
        while order:
            size = max(1, SLOTS // len(rows[order[min(len(order), SLOTS) - 1]]))
            chosen, order = order[-size:], order[:-size]
            ids, layout = pad([rows[i] for i in chosen], model.device)
            hidden = model.features(Batch(ids, layout, ids))
            scores = cast("list[list[float]]", model.pooled_head(hidden, layout).cpu().numpy().tolist())
            out |= dict(zip(chosen, scores, strict=True))
        return [out[i] for i in range(len(rows))]

    def grid(self, samples: Sequence[Sample]) -> Grid:
        """Counts how many texts of each label were given each label."""
        return confusion(samples)

    def line(self, prediction: Classified) -> str:
        return prediction.label

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns the samples of all rows, since they cost no more than the loss does; none where limit is 0."""
        if limit == 0:
            return []
        labels, texts = cast(Labels, readers[LABEL]), texts_of(split.columns[TEXT])
        wanted: list[str] = [labels.names[i] for i in labels.encode(split.columns[LABEL], LABEL).tolist()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Notice)  # a remark before the training counts the texts that are cut off
            answers = [classified(labels.names, row) for row in self.logits(model, readers, texts)]
        rows = zip(texts, wanted, answers, strict=True)
        return [Sample(text, expected, answer.label, answer) for text, expected, answer in rows]


def numbers() -> str:
    """Returns advice for a user whose labels are meant as numbers, as part of a sentence."""
    tasks = (kind for kind in kinds(TaskConfig.folder).values() if issubclass(kind, TaskConfig))
    other = next((task.kind for task in tasks if task.gives == "number"), None)
    if other is None:
        return "to predict numbers takes a task that does, and none is installed"
    return f"task={other} predicts numbers"


def texts_of(values: Sequence[Any]) -> Sequence[str]:
    """Returns the texts of a column of a table; a number becomes its text."""
    if isinstance(values, Encoded):
        return values
    return [value if isinstance(value, str) else str(value) for value in values]


def classified(names: tuple[str, ...], logits: Sequence[float]) -> Classified:
    """Returns the likeliest label, and the probability of each."""
    exact = np.array(logits, dtype=np.float64)
    shares = np.exp(exact - exact.max())
    shares /= shares.sum()
    order: list[int] = np.argsort(-shares, kind="stable").tolist()
    ranked = {names[i]: float(shares[i]) for i in order}
    return Classified(names[order[0]], ranked[names[order[0]]], ranked)
