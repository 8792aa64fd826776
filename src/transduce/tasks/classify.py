"""Classification: which of a few labels a text has."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch

from transduce.data.classes import Labelled, in_windows, weights_of
from transduce.data.columns import TEXT, Columns
from transduce.data.examples import Encoded, ids
from transduce.data.framed import Frame
from transduce.data.loader import BatchConfig
from transduce.data.readers.labels import Labels
from transduce.data.readers.reader import Reader, Readers
from transduce.errors import Notice, UserError, require_at_least
from transduce.generate.config import GenerateConfig
from transduce.generate.inputs import pad
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.decoder import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.tasks.classifying import LABEL, Classified, ClassifyingConfig
from transduce.tasks.measures.measure import Sample
from transduce.tasks.task import Split
from transduce.text.tokenizer import Tokenizer

SLOTS = 8192  # of a batch of texts that are classified together


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(ClassifyingConfig):
    """A text, and one of a few labels.

    window: tokens of a window, special ones included. A longer text is read in windows: in training they share its
        weight, and its logits are the mean of theirs (None: it loses its end).
    stride: tokens that neighbouring windows share.
    class_weights: how much a text of each label counts in training, by label, those left out 1; balanced: as many
        times less as its label has more rows, 1 on average (None: all count alike, as in validation).
    """

    kind: ClassVar[str] = "classify"
    reads: ClassVar[tuple[str, ...]] = (TEXT, LABEL)
    unit: ClassVar[str] = "text"
    window: int | None = None
    stride: int = 32
    class_weights: dict[str, float] | Literal["balanced"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, window=self.window)
        require_at_least(0, stride=self.stride)

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {LABEL: self.labels(train)}

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the ids before and after a text: <s> and </s>, if the tokeniser was trained here."""
        return (tokenizer.marks.opens, tokenizer.marks.after) if tokenizer.made_here else super().around(tokenizer)

    def texts(self, columns: Columns) -> Sequence[str]:
        return texts_of(columns[TEXT])

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with a head that tells so many classes, in the place of one that predicts tokens."""
        return self.with_head(model, readers, ("last",) if isinstance(model, DecoderConfig) else ("mean",))

    def check(self, model: Model, readers: Readers) -> None:
        super().check(model, readers)
        if self.window is not None and model.limit is not None and self.window > model.limit:
            raise UserError(f"task.window={self.window}, but the model reads {model.limit} tokens; lower it")

    def examples(self, columns: Columns, readers: Readers) -> Labelled:
        before, after = self.around(readers.text)
        tokenizer, frame = readers.text, Frame(before, (), after)
        if self.window is not None and self.window <= frame.beside(two=False):
            what = f"task.window={self.window} leaves no room for a text"
            raise UserError(f"{what} beside {frame.beside(two=False)} special tokens; raise it")
        texts = ids(texts_of(columns[TEXT]), tokenizer).between(before, after)
        labels = cast(Labels, readers[LABEL])
        classes = labels.encode(columns[LABEL], LABEL)
        weights = None if self.class_weights is None else weights_of(self.class_weights, labels.names, classes)
        return Labelled(texts, classes, frame, tokenizer.pad, self.window, self.stride, weights)

    def split(
        self, name: str, columns: Columns, readers: Readers, batch: BatchConfig, seed: int
    ) -> Split:  # fmt: skip
        """Returns a split for evaluation, where all texts count alike."""
        return super(ClassifyConfig, replace(self, class_weights=None)).split(name, columns, readers, batch, seed)

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[str], options: GenerateConfig
    ) -> list[Classified]:  # fmt: skip
        """Returns the label of each text. Without windows, one longer than the model reads loses its end, with a
        `Notice`."""
        full = [i for i, text in enumerate(inputs) if text.strip()]
        logits = dict(zip(full, self.logits(model, readers, [inputs[i] for i in full]), strict=True))
        empty = Classified("", 0.0, {})
        return [self.labelled(readers, logits[i]) if i in logits else empty for i in range(len(inputs))]

    @torch.inference_mode()
    def logits(self, model: Model, readers: Readers, texts: Sequence[str]) -> list[list[float]]:
        """Returns the logit of each class for each text, computed in batches of similar lengths."""
        before, after = self.around(readers.text)
        if self.window is not None:
            frame, owners, parts = Frame(before, (), after), list[int](), list[list[int]]()
            for i, text in enumerate(readers.text.encode_batch(texts)):
                own = in_windows(text, frame, self.window, self.stride)
                owners += [i] * len(own)
                parts += [row.ids for row in own]
            return means(self.read(model, parts), owners, len(texts))
        rows = [[*before, *row, *after] for row in readers.text.encode_batch(texts)]
        if (most := model.limit) is not None and (long := [i for i, row in enumerate(rows) if len(row) > most]):
            what = f"text {long[0]} has {len(rows[long[0]])} tokens" + (", others too many" if len(long) > 1 else "")
            warnings.warn(f"{what}, but the model reads {most}; the rest is cut off", Notice, stacklevel=3)
            rows = [[*row[: most - len(after)], *after] if len(row) > most else row for row in rows]
        return self.read(model, rows)

    def read(self, model: Model, rows: Sequence[list[int]]) -> list[list[float]]:
        """Returns the logit of each class for each row of ids."""
        order, out = sorted(range(len(rows)), key=lambda i: len(rows[i])), dict[int, list[float]]()
        while order:
            size = max(1, SLOTS // len(rows[order[min(len(order), SLOTS) - 1]]))
            chosen, order = order[-size:], order[:-size]
            ids, layout = pad([rows[i] for i in chosen], model.device)
            hidden = model.features(Batch(ids, layout, ids))
            scores = cast("list[list[float]]", model.pooled_head(hidden, model.arranged(layout)).cpu().numpy().tolist())
            out |= dict(zip(chosen, scores, strict=True))
        return [out[i] for i in range(len(rows))]

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
            answers = [self.labelled(readers, row) for row in self.logits(model, readers, texts)]
        rows = zip(texts, wanted, answers, strict=True)
        return [Sample(text, expected, answer.label, answer) for text, expected, answer in rows]


def means(rows: Sequence[Sequence[float]], owners: Sequence[int], count: int) -> list[list[float]]:
    """Returns the mean of the rows of each owner."""
    if not rows:
        return []
    sums, of = np.zeros((count, len(rows[0]))), np.bincount(owners, minlength=count)
    np.add.at(sums, np.array(owners), np.array(rows))
    return (sums / of[:, None]).tolist()


def texts_of(values: Sequence[Any]) -> Sequence[str]:
    """Returns the texts of a column of a table; a number becomes its text."""
    if isinstance(values, Encoded):
        return values
    return [value if isinstance(value, str) else str(value) for value in values]
