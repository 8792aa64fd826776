"""Encoded data: all ids, or all numbers, in one array, so that a million sentences are three objects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from transduce.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transduce.data.loader import BatchConfig
    from transduce.data.rows import Rows

Ids = NDArray[np.int32]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths: row i is flat[offsets[i]:offsets[i + 1]]."""

    flat: NDArray[Any]  # (total,) int32 ids, or (total, ...) float32 numbers
    offsets: Index  # (rows + 1,) int64

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | NDArray[Any]], dtype: type[np.generic] = np.int32) -> "Ragged":
        """From lists of ids, or arrays of numbers."""
        parts = [np.asarray(row, dtype=dtype) for row in rows]
        lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
        flat = np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
        return cls(flat, np.concatenate([np.zeros(1, dtype=np.int64), lengths.cumsum()]))

    @classmethod
    def joined(cls, flats: Sequence[NDArray[Any]], lengths: Sequence[Index]) -> "Ragged":
        """From ids that stand one behind the other, and how many each row has of them."""
        flat = np.concatenate(flats) if flats else np.zeros(0, dtype=np.int32)
        counts = np.concatenate([np.zeros(1, dtype=np.int64), *lengths])
        return cls(flat, counts.cumsum())

    def between(self, before: Sequence[int], after: Sequence[int] = ()) -> "Ragged":
        """Returns the same rows with these tokens before and behind each."""
        extra, rows = len(before) + len(after), len(self)
        offsets = self.offsets + extra * np.arange(rows + 1)
        flat, own = np.empty(offsets[-1], dtype=self.flat.dtype), np.ones(offsets[-1], dtype=bool)
        for place, token in enumerate(before):
            flat[offsets[:-1] + place], own[offsets[:-1] + place] = token, False
        for place, token in enumerate(reversed(after)):
            flat[offsets[1:] - 1 - place], own[offsets[1:] - 1 - place] = token, False
        flat[own] = self.flat[:]
        return Ragged(flat, offsets)

    @property
    def lengths(self) -> Index:
        """(rows,) int64."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]


class Encoded(Sequence[str]):
    """A column of text whose ids are there already.

    texts: the texts themselves; None: they were not kept.
    unknown: ids that are <unk>.
    blank: texts of nothing but white space.
    utf8: bytes of the texts, where they were kept.
    """

    def __init__(
        self, ids: Ragged, texts: Sequence[str] | None, *, unknown: int, blank: int, characters: int, utf8: int
    ) -> None:  # fmt: skip
        self.ids, self.texts, self.unknown, self.blank = ids, texts, unknown, blank
        self.characters, self.utf8 = characters, utf8

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: Any) -> Any:
        assert self.texts is not None, "the texts of this split were not kept"
        return self.texts[row]


class Examples(Protocol):
    """A split as a model reads it. A task makes it of columns, and says how rows of a batch are filled with it."""

    def __len__(self) -> int: ...

    @property
    def ids(self) -> Mapping[str, Ragged]:
        """The columns that are sequences: text as ids, without special tokens, or rows of numbers."""
        ...

    def rows(self, config: "BatchConfig", *, drop: bool) -> "Rows[Any]":
        """Returns the way of filling rows. drop: what is longer than `config.max_length` is left out, not cut off.
        Raises UserError where `config` asks for what these examples do not have."""
        ...

    def cuts(self, config: "BatchConfig") -> bool:
        """Says whether an example longer than `config.max_length` loses its end."""
        ...


def ids(
    texts: Sequence[str], tokenizer: Tokenizer, chunk: int = 10_000, before: tuple[int, ...] = (), *,
    answers: bool = False,
) -> Ragged:  # fmt: skip
    """Texts as ids, `chunk` texts at a time so that Python lists of them all never exist at once.

    before: what a published tokeniser puts before a text that is read whole, such as <s>. answers: whether a decoder
    writes these texts.
    """
    if isinstance(texts, Encoded):
        return texts.ids.between(before) if before else texts.ids
    some = [tokenizer.encode_flat(texts[i : i + chunk], answers=answers) for i in range(0, len(texts), chunk)]
    rows = Ragged.joined([flat for flat, _ in some], [lengths for _, lengths in some])
    return rows.between(before) if before else rows


def tokens(examples: Examples) -> int:
    """Returns the number of ids of all columns."""
    return sum(len(column.flat) for column in examples.ids.values())


def overlong(examples: Examples, config: "BatchConfig") -> tuple[int, float]:
    """Examples above max_length, and the share of tokens they lose. Streams and packed documents lose nothing."""
    if not examples.cuts(config):
        return 0, 0.0
    beside: int = getattr(examples, "beside", 1)  # special tokens of a row that are not among its ids
    slots = np.stack([column.lengths + beside for column in examples.ids.values()])  # (columns, examples)
    over = (slots > config.max_length).any(0)
    lost = slots[:, over] if config.overlong == "drop" else np.maximum(slots - config.max_length, 0)
    return int(over.sum()), float(lost.sum() / max(slots.sum(), 1))
