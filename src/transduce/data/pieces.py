"""Encoded text with special tokens and limited lengths, and the rows of a batch, which are built by arithmetic."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transduce.data.examples import Index, Ragged
from transduce.model.batch import Batch
from transduce.model.layout import Layout, dense, right_padded


class Specials(Protocol):
    """The three ids that rows need; a Tokenizer has them."""

    pad: int
    bos: int
    eos: int


def tensor(array: NDArray[Any]) -> Tensor:
    """Returns a tensor that shares the memory of an array."""
    return torch.from_numpy(array)  # type: ignore[reportUnknownMemberType]


class Spans(NamedTuple):
    """Pieces of the source or of the target side: piece p is flat[starts[p] : starts[p] + lengths[p]]."""

    flat: NDArray[Any]  # ids, or numbers
    starts: Index
    lengths: Index


@dataclass(frozen=True)
class Pieces:
    """The pieces that rows are filled with: documents, or parts of long documents.

    A document reads <s> y </s>. A piece of length n gives n inputs, and as targets the n tokens one further on.
    """

    target: Spans
    example: Index  # (pieces,) which example a piece comes from
    pad: int

    @property
    def lengths(self) -> tuple[Index, Index]:
        """Returns the slots of every piece on the source side (0 without a source) and on the target side."""
        return np.zeros_like(self.target.lengths), self.target.lengths

    def padded(self, chosen: Index) -> Batch:
        """Returns a batch of one piece per row, padded on the right. chosen: (B,) pieces.

        Where all are equally long there is no padding, and the layout is the dense one.
        """
        inputs, layout = padded(self.target, chosen, self.pad)
        targets, _ = padded(self.target, chosen, -1, shift=1)
        return Batch(inputs, layout, targets, examples=self.named(chosen))

    def packed(self, rows: list[Index]) -> Batch:
        """Returns a batch of several pieces per row, one behind the other, with positions from 0 in each piece."""
        inputs, targets, layout = packed(self.target, rows, self.pad)
        return Batch(inputs, layout, targets, examples=self.named(np.concatenate(rows)))

    def named(self, chosen: Index) -> tuple[int, ...]:
        """Returns the numbers of the examples that pieces come from."""
        return tuple(self.example[chosen].tolist())


@dataclass(frozen=True)
class PairPieces(Pieces):
    """Pairs of a source and a target. The source reads x </s>."""

    source: Spans

    @property
    def lengths(self) -> tuple[Index, Index]:
        return self.source.lengths, self.target.lengths

    def padded(self, chosen: Index) -> Batch:
        source, layout = padded(self.source, chosen, self.pad)
        return super().padded(chosen)._replace(source=source, source_layout=layout)

    def packed(self, rows: list[Index]) -> Batch:
        """Returns a batch of several pairs per row, with equal `segments` on both sides."""
        source, _, layout = packed(self.source, rows, self.pad)
        return super().packed(rows)._replace(source=source, source_layout=layout)


@dataclass(frozen=True)
class RowPieces(Pieces):
    """Rows that are read as a whole. values: (pieces, ...), the target of each."""

    values: NDArray[Any]

    def padded(self, chosen: Index) -> Batch:
        inputs, layout = padded(self.target, chosen, self.pad)
        return Batch(inputs, layout, tensor(self.values[chosen]), examples=self.named(chosen))

    def packed(self, rows: list[Index]) -> Batch:
        raise AssertionError("a row that has a value of its own is not packed")


def with_values(ids: Ragged, values: NDArray[Any], pad: int, limit: int, end: int, drop: bool) -> RowPieces:
    """Returns one piece per row of ids. A row of more than `limit` slots is shortened, or left out (`drop`).

    values: (rows, ...), the target of each row.
    end: so many tokens at the end of a row stay when it is shortened; tokens before them are cut out.
    """
    flat, slots = ids.flat.copy(), ids.lengths
    rows = np.flatnonzero(slots <= limit) if drop else np.arange(len(slots), dtype=np.int64)
    for row in () if drop else np.flatnonzero(slots > limit):
        start, stop = ids.offsets[row], ids.offsets[row + 1]
        flat[start + limit - end : start + limit] = ids.flat[stop - end : stop]
    return RowPieces(spans(Ragged(flat, ids.offsets), rows, slots, limit), rows, pad, values[rows])


def whole(ids: Ragged, specials: Specials, limit: int, drop: bool) -> Pieces:
    """Returns one piece per document. A document of more than `limit` slots is cut off there, or left out (`drop`).

    A document that is cut off has no </s>, so a model does not learn to end early.
    """
    target = wrapped(ids, specials.bos, specials.eos)
    slots = np.diff(target.offsets) - 1
    rows = np.flatnonzero(slots <= limit) if drop else np.arange(len(slots), dtype=np.int64)
    return Pieces(spans(target, rows, slots, limit), rows, specials.pad)


def pairs(sources: Ragged, targets: Ragged, specials: Specials, limit: int, drop: bool) -> PairPieces:
    """Returns one piece per pair. A side of more than `limit` slots is cut off there, or the pair left out (`drop`).

    A target that is cut off has no </s>, so a model does not learn to end early; a source keeps its </s>.
    """
    target = wrapped(targets, specials.bos, specials.eos)
    source = wrapped(sources, None, specials.eos, None if drop else limit)
    slots, source_slots = np.diff(target.offsets) - 1, np.diff(source.offsets)
    keep = (slots <= limit) & (source_slots <= limit)
    rows = np.flatnonzero(keep) if drop else np.arange(len(slots), dtype=np.int64)
    of_target, of_source = spans(target, rows, slots, limit), spans(source, rows, source_slots, limit)
    return PairPieces(of_target, rows, specials.pad, of_source)


def split(ids: Ragged, specials: Specials, limit: int) -> Pieces:
    """Returns documents in pieces of at most `limit` slots; every token is the target of exactly one slot."""
    target = wrapped(ids, specials.bos, specials.eos)
    slots = np.diff(target.offsets) - 1
    counts = -(-slots // limit)
    document = np.repeat(np.arange(len(slots), dtype=np.int64), counts)
    first = np.concatenate([np.zeros(1, dtype=np.int64), counts.cumsum()])[:-1]
    begin = (np.arange(len(document), dtype=np.int64) - first[document]) * limit
    lengths = np.minimum(slots[document] - begin, limit)
    return Pieces(Spans(target.flat, target.offsets[document] + begin, lengths), document, specials.pad)


class Wrapped:
    """The array that `wrapped` returns for rows whose ids lie in files. It copies nothing, and adds tokens on reading.

    limit: a longer row ends there with `after`, and the rest of it is not read.
    """

    dtype = np.dtype(np.int32)

    def __init__(self, rows: Ragged, before: int | None, after: int, limit: int | None = None) -> None:
        self.rows, self.before, self.after, self.lead = rows, before, after, int(before is not None)
        self.offsets: Index = rows.offsets + (self.lead + 1) * np.arange(len(rows.offsets), dtype=np.int64)
        self.limit = np.iinfo(np.int64).max if limit is None else limit

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __getitem__(self, at: Index) -> NDArray[np.int32]:
        row = np.searchsorted(self.offsets, at, side="right") - 1
        start, stop = self.rows.offsets[row], self.rows.offsets[row + 1]
        column = at - self.offsets[row] - self.lead
        ids = self.rows.flat[np.clip(start + column, 0, max(len(self.rows.flat) - 1, 0))]
        ids[column >= np.minimum(stop - start, self.limit - 1)] = self.after
        if self.before is not None:
            ids[column < 0] = self.before
        return ids


def wrapped(rows: Ragged, before: int | None, after: int, limit: int | None = None) -> Ragged:
    """Returns rows with a token before each (None: with none) and a token after each.

    limit: a longer row has the token `after` as its last one there.
    """
    flat: Any = rows.flat
    if not isinstance(flat, np.ndarray):
        virtual: Any = Wrapped(rows, before, after, limit)
        return Ragged(virtual, virtual.offsets)
    extra = 1 if before is None else 2
    offsets = rows.offsets + extra * np.arange(len(rows.offsets))
    flat = np.empty(offsets[-1], dtype=np.int32)
    text = np.ones(len(flat), dtype=bool)
    text[offsets[1:] - 1] = False
    if before is not None:
        text[offsets[:-1]] = False
        flat[offsets[:-1]] = before
    flat[offsets[1:] - 1] = after
    flat[text] = rows.flat
    if limit is not None:
        flat[offsets[:-1] + np.minimum(np.diff(offsets), limit) - 1] = after
    return Ragged(flat, offsets)


def spans(rows: Ragged, chosen: Index, slots: Index, limit: int) -> Spans:
    """Returns the chosen rows as pieces, each of its first `slots`, at most `limit`."""
    return Spans(rows.flat, rows.offsets[chosen], np.minimum(slots[chosen], limit))


def padded(spans: Spans, chosen: Index, pad: int, shift: int = 0) -> tuple[Tensor, Layout]:
    """Returns (B, T) ids, or (B, T, ...) numbers, of the chosen pieces, and their layout.

    shift: each piece is read so many slots further on.
    """
    starts, lengths = spans.starts[chosen] + shift, spans.lengths[chosen]
    columns = np.arange(int(lengths.max()), dtype=np.int64)
    real = columns < lengths[:, None]
    values = spans.flat[np.where(real, starts[:, None] + columns, 0)]
    values[~real] = pad
    full = bool(lengths.min() == real.shape[1])
    layout = dense(*real.shape) if full else right_padded(tensor(lengths), real.shape[1])
    return tensor(values.astype(np.int64) if values.dtype == np.int32 else values), layout


def packed(spans: Spans, rows: list[Index], pad: int) -> tuple[Tensor, Tensor, Layout]:
    """Returns (B, T) ids of the pieces of every row, the ids one further on (-1: no token), and their layout."""
    chosen = np.concatenate(rows)
    counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    row = np.repeat(np.arange(len(rows), dtype=np.int64), counts)
    first = counts.cumsum() - counts
    number = np.arange(len(chosen), dtype=np.int64) - first[row]
    lengths = spans.lengths[chosen]
    ends = lengths.cumsum()
    before = ends - lengths  # slots of all pieces before this one
    column = before - before[first][row]  # where in its row a piece starts
    shape = len(first), int((column + lengths).max())
    piece = np.repeat(np.arange(len(chosen), dtype=np.int64), lengths)
    within = np.arange(int(ends[-1]), dtype=np.int64) - before[piece]
    slots = row[piece] * shape[1] + column[piece] + within
    at = spans.starts[chosen][piece] + within
    grids = [np.full(shape, fill, dtype=np.int64) for fill in (pad, -1, -1, 0)]
    last = np.minimum(at + 1, len(spans.flat) - 1)
    for grid, values in zip(grids, (spans.flat[at], spans.flat[last], within, number[piece]), strict=True):
        grid.reshape(-1)[slots] = values
    inputs, targets, positions, segments = map(tensor, grids)
    return inputs, targets, Layout(positions, segments)
