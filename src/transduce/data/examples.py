"""Encoded text: all ids in one array, so that a million sentences are three objects."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transduce.data.source import Texts
from transduce.text.tokenizer import Tokenizer

Ids = NDArray[np.int32]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths: row i is flat[offsets[i]:offsets[i + 1]]."""

    flat: Ids  # (total,) int32
    offsets: Index  # (rows + 1,) int64

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> "Ragged":
        """From lists of ids."""
        parts = [np.asarray(row, dtype=np.int32) for row in rows]
        lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
        flat = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
        return cls(flat, np.concatenate([np.zeros(1, dtype=np.int64), lengths.cumsum()]))

    @property
    def lengths(self) -> Index:
        """(rows,) int64."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Ids:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]


@dataclass(frozen=True)
class Examples:
    """A split as ids, without special tokens. `sources` is None for language modelling."""

    sources: Ragged | None
    targets: Ragged

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def tokens(self) -> int:
        """Ids of both sides."""
        return len(self.targets.flat) + (0 if self.sources is None else len(self.sources.flat))


def encode(texts: Texts, tokenizer: Tokenizer) -> Examples:
    """A split as ids; the tokeniser's threads share the work."""
    before = tokenizer.marks.before if texts.sources is not None else ()
    sources = None if texts.sources is None else ids(texts.sources, tokenizer, before=before)
    return Examples(sources, ids(texts.targets, tokenizer, answers=sources is not None))


def ids(
    texts: Sequence[str], tokenizer: Tokenizer, chunk: int = 10_000, before: tuple[int, ...] = (), *,
    answers: bool = False,
) -> Ragged:  # fmt: skip
    """Texts as ids, `chunk` texts at a time so that Python lists of them all never exist at once.

    before: what a tokeniser of others puts before a text that is read whole, such as <s>. answers: whether a decoder
    writes these texts.
    """
    rows = (tokenizer.encode_batch(texts[i : i + chunk], answers=answers) for i in range(0, len(texts), chunk))
    parts = [Ragged.of([[*before, *row] for row in some] if before else some) for some in rows]
    flat = np.concatenate([p.flat for p in parts]) if parts else np.zeros(0, dtype=np.int32)
    lengths = np.concatenate([p.lengths for p in parts]) if parts else np.zeros(0, dtype=np.int64)
    return Ragged(flat, np.concatenate([np.zeros(1, dtype=np.int64), lengths.cumsum()]))
