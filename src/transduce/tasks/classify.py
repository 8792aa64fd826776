"""Classification: which of a few labels a text has."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch

from transduce.data import pieces
from transduce.data.columns import TEXT, Columns
from transduce.data.examples import Encoded, Index, Ragged, ids
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.readers.labels import Labels
from transduce.data.readers.reader import Reader, Readers
from transduce.data.rows import Padded, Rows
from transduce.errors import Notice, UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.inputs import pad
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.decoder import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.tasks.classifying import LABEL, Classified, ClassifyingConfig, classified
from transduce.tasks.measures.measure import Sample
from transduce.tasks.task import Split
from transduce.text.tokenizer import Tokenizer

SLOTS = 8192  # of a batch of texts that are classified together


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
class ClassifyConfig(ClassifyingConfig):
    """A text, and one of a few labels."""

    kind: ClassVar[str] = "classify"
    reads: ClassVar[tuple[str, ...]] = (TEXT, LABEL)
    unit: ClassVar[str] = "text"

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

    def examples(self, columns: Columns, readers: Readers) -> Labelled:
        before, after = self.around(readers.text)
        tokenizer = readers.text
        texts = ids(texts_of(columns[TEXT]), tokenizer).between(before, after)
        return Labelled(texts, readers[LABEL].encode(columns[LABEL], LABEL), (len(before), len(after)), tokenizer.pad)

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
            answers = [classified(labels.names, row) for row in self.logits(model, readers, texts)]
        rows = zip(texts, wanted, answers, strict=True)
        return [Sample(text, expected, answer.label, answer) for text, expected, answer in rows]


def texts_of(values: Sequence[Any]) -> Sequence[str]:
    """Returns the texts of a column of a table; a number becomes its text."""
    if isinstance(values, Encoded):
        return values
    return [value if isinstance(value, str) else str(value) for value in values]
