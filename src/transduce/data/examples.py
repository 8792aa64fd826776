"""Encoded data: all ids, or all numbers, of a column in one array, so that a million sentences are three objects."""

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
        """Returns rows from lists of ids, or from arrays of numbers."""
        parts = [np.asarray(row, dtype=dtype) for row in rows]
        lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
        flat = np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
        return cls(flat, np.concatenate([np.zeros(1, dtype=np.int64), lengths.cumsum()]))

    @classmethod
    def joined(cls, flats: Sequence[NDArray[Any]], lengths: Sequence[Index]) -> "Ragged":
        """Returns rows from ids one behind the other, and the number of ids of each row."""
        flat = np.concatenate(flats) if flats else np.zeros(0, dtype=np.int32)
        counts = np.concatenate([np.zeros(1, dtype=np.int64), *lengths])
        return cls(flat, counts.cumsum())

    def between(self, before: Sequence[int], after: Sequence[int] = ()) -> "Ragged":
        """Returns the rows with these tokens before and after each."""
        extra, rows = len(before) + len(after), len(self)
        offsets = self.offsets + extra * np.arange(rows + 1)
        flat, own = np.empty(offsets[-1], dtype=self.flat.dtype), np.ones(offsets[-1], dtype=bool)
        for shift, token in enumerate(before):
            flat[offsets[:-1] + shift], own[offsets[:-1] + shift] = token, False
        for shift, token in enumerate(reversed(after)):
            flat[offsets[1:] - 1 - shift], own[offsets[1:] - 1 - shift] = token, False
        flat[own] = self.flat[:]
        return Ragged(flat, offsets)

    @property
    def lengths(self) -> Index:
        """The number of ids of each row: (rows,) int64."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]


class Encoded(Sequence[str]):
    """A column of text that was encoded before.

    texts: the texts themselves (None: they were not stored).
    unknown: how many ids are <unk>.
    blank: how many texts are only white space.
    characters: of all texts.
    utf8: bytes of all texts, where they were stored.
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
    """A split as a model reads it. A task makes it from columns, and says how it fills the rows of a batch."""

    def __len__(self) -> int: ...

    @property
    def ids(self) -> Mapping[str, Ragged]:
        """The columns that are sequences: of ids, without special tokens, or of numbers."""
        ...

    def rows(self, config: "BatchConfig", *, drop: bool) -> "Rows[Any]":
        """Returns the way of filling rows. Raises UserError where these examples cannot do what `config` asks for.

        drop: an example longer than `config.max_length` is left out, not cut off.
        """
        ...

    def cuts(self, config: "BatchConfig") -> bool:
        """Says whether an example longer than `config.max_length` loses its end."""
        ...


def ids(
    texts: Sequence[str], tokenizer: Tokenizer, chunk: int = 10_000, before: tuple[int, ...] = (), *,
    answers: bool = False,
) -> Ragged:  # fmt: skip
    """Returns the ids of texts, encoded `chunk` texts at a time, so that Python lists of all ids never exist at once.

    before: ids that a published tokeniser puts before a text that is read as a whole, such as <s>.
    answers: a decoder writes these texts.
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
    """Returns how many examples exceed max_length, and the share of all tokens that they lose.

    Streams and packed documents lose nothing.
    """
    if not examples.cuts(config):
        return 0, 0.0
    beside: int = getattr(examples, "beside", 1)  # special tokens of a row that are not among its ids
    own: Index | None = getattr(examples, "slots", None)  # where several columns stand in one row
    slots = np.stack([c.lengths + beside for c in examples.ids.values()]) if own is None else own[None]
    over = (slots > config.max_length).any(0)
    lost = slots[:, over] if config.overlong == "drop" else np.maximum(slots - config.max_length, 0)
    return int(over.sum()), float(lost.sum() / max(slots.sum(), 1))
