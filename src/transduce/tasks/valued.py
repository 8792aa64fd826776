"""Texts, or pairs of texts, each row with numbers that a head of rows predicts.

Tested in tests/tasks/test_regress.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.data.columns import OTHER, TEXT, Columns
from transduce.data.examples import Index, Ragged, ids
from transduce.data.framed import Frame, framed
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.readers.reader import Readers
from transduce.data.rows import Padded, Rows
from transduce.errors import UserError
from transduce.model.models import Model
from transduce.tasks.classify import texts_of
from transduce.tasks.reading import around_of, frame_of, row_outputs
from transduce.tasks.task import TaskConfig
from transduce.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Valued:
    """Texts as ids, without special tokens, the second text of each row where it has two, and its numbers."""

    texts: Ragged
    others: Ragged | None
    values: NDArray[Any]
    frame: Frame
    pad: int

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def beside(self) -> int:
        return self.frame.beside(two=self.others is not None)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {TEXT: self.texts} if self.others is None else {TEXT: self.texts, OTHER: self.others}

    @property
    def slots(self) -> Index:
        """Returns the tokens of each row, special ones included."""
        return self.texts.lengths + self.beside + (0 if self.others is None else self.others.lengths)

    def cuts(self, config: BatchConfig) -> bool:
        return True

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            raise UserError("batch.packing=true puts several texts in a row, which this task does not; leave it out")
        if config.max_length <= self.beside:
            raise UserError(f"batch.max_length={config.max_length} leaves no room for a text; raise it")
        chosen = np.flatnonzero(self.slots <= config.max_length) if drop else np.arange(len(self), dtype=np.int64)
        rows = [
            self.frame.cut(
                self.texts[i].tolist(), None if self.others is None else self.others[i].tolist(), config.max_length
            )
            for i in chosen.tolist()
        ]
        return Padded(framed(rows, chosen, self.pad, self.values[chosen]), config.batch_tokens)


@dataclass(frozen=True, kw_only=True)
class ValuedConfig(TaskConfig):
    """A task of rows with numbers."""

    shape: ClassVar[str] = "encoder"
    unit: ClassVar[str] = "text"
    two: ClassVar[bool] = False  # texts in a row

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return around_of(tokenizer)

    def texts(self, columns: Columns) -> Sequence[str]:
        return [text for name in ((TEXT, OTHER) if self.two else (TEXT,)) for text in texts_of(columns[name])]

    def inputs(self, columns: Columns) -> Sequence[Any]:
        texts = texts_of(columns[TEXT])
        return [*zip(texts, texts_of(columns[OTHER]), strict=True)] if self.two else texts

    def valued(self, columns: Columns, readers: Readers, values: NDArray[Any]) -> Valued:
        """Returns the examples of rows with these numbers."""
        tokenizer = readers.text
        texts = ids(texts_of(columns[TEXT]), tokenizer)
        others = ids(texts_of(columns[OTHER]), tokenizer) if self.two else None
        return Valued(texts, others, values, frame_of(tokenizer), tokenizer.pad)

    def outputs(self, model: Model, readers: Readers, inputs: Sequence[Any]) -> list[NDArray[Any]]:
        """Returns what the head gives for each text, or pair of texts. Raises UserError for a pair that is none."""
        if not self.two:
            return row_outputs(model, readers.text, inputs)
        for number, one in enumerate(inputs):
            if isinstance(one, str) or len(one) != 2:
                raise UserError(f"text {number} is not two texts; task={self.kind} reads pairs")
        return row_outputs(model, readers.text, [str(a) for a, _ in inputs], [str(b) for _, b in inputs])
