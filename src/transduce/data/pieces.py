"""Encoded text with its special tokens and limited lengths, and rows built from it by arithmetic."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from transduce.data.examples import Examples, Ids, Index, Ragged
from transduce.model.batch import Batch
from transduce.model.layout import Layout, dense, right_padded


class Specials(Protocol):
    """The three ids that rows need; a Tokenizer has them."""

    pad: int
    bos: int
    eos: int


def tensor(array: Index) -> Tensor:
    """The same memory as a tensor."""
    return torch.from_numpy(array)  # type: ignore[reportUnknownMemberType]


class Side(NamedTuple):
    """Piece p is flat[starts[p] : starts[p] + lengths[p]]."""

    flat: Ids
    starts: Index
    lengths: Index


@dataclass(frozen=True)
class Pieces:
    """What a row is made of: a pair, a document, or a part of a long document.

    The target side reads <s> y </s>: a piece of length n gives n inputs, and the n tokens one further on as targets.
    The source side reads x </s>.
    """

    source: Side | None
    target: Side
    example: Index  # (pieces,) which example a piece comes from
    pad: int

    @property
    def lengths(self) -> tuple[Index, Index]:
        """Slots of every piece on the source side (0 without one) and on the target side."""
        zero = np.zeros_like(self.target.lengths)
        return zero if self.source is None else self.source.lengths, self.target.lengths


def whole(examples: Examples, specials: Specials, limit: int, drop: bool) -> Pieces:
    """One piece per example. Of a side longer than `limit` slots the rest is cut off, or the example dropped.

    A target cut short has no </s>, so nothing is taught to end early; a source keeps its </s>.
    """
    target = _wrapped(examples.targets, specials.bos, specials.eos)
    slots = np.diff(target.offsets) - 1
    keep = slots <= limit
    source = None
    if examples.sources is not None:
        source = _wrapped(examples.sources, None, specials.eos)
        source_slots = np.diff(source.offsets)
        keep &= source_slots <= limit
        if not drop:
            ends = source.offsets[:-1] + np.minimum(source_slots, limit) - 1
            source.flat[ends] = specials.eos
    rows = np.flatnonzero(keep) if drop else np.arange(len(slots), dtype=np.int64)
    side = None if source is None else _side(source, rows, np.diff(source.offsets), limit)
    return Pieces(side, _side(target, rows, slots, limit), rows, specials.pad)


def split(examples: Examples, specials: Specials, limit: int) -> Pieces:
    """Documents in pieces of at most `limit` slots, so that every token is the target of exactly one slot."""
    target = _wrapped(examples.targets, specials.bos, specials.eos)
    slots = np.diff(target.offsets) - 1
    counts = -(-slots // limit)
    document = np.repeat(np.arange(len(slots), dtype=np.int64), counts)
    first = np.concatenate([np.zeros(1, dtype=np.int64), counts.cumsum()])[:-1]
    begin = (np.arange(len(document), dtype=np.int64) - first[document]) * limit
    lengths = np.minimum(slots[document] - begin, limit)
    return Pieces(None, Side(target.flat, target.offsets[document] + begin, lengths), document, specials.pad)


def _wrapped(rows: Ragged, before: int | None, after: int) -> Ragged:
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
    return Ragged(flat, offsets)


def _side(rows: Ragged, chosen: Index, slots: Index, limit: int) -> Side:
    return Side(rows.flat, rows.offsets[chosen], np.minimum(slots[chosen], limit))


def padded(pieces: Pieces, chosen: Index) -> Batch:
    """One piece per row, padded on the right; without padding, the dense layout. chosen: (B,) pieces."""
    starts, lengths = pieces.target.starts[chosen], pieces.target.lengths[chosen]
    inputs, targets = _rows(pieces.target.flat, starts, lengths, pieces.pad, shift=True)
    examples = tuple(pieces.example[chosen].tolist())
    layout = _layout(lengths, inputs.shape)
    if pieces.source is None:
        return Batch(tensor(inputs), layout, tensor(targets), examples=examples)
    starts, lengths = pieces.source.starts[chosen], pieces.source.lengths[chosen]
    source, _ = _rows(pieces.source.flat, starts, lengths, pieces.pad, shift=False)
    below = _layout(lengths, source.shape)
    return Batch(tensor(inputs), layout, tensor(targets), tensor(source), below, examples=examples)


def _rows(flat: Ids, starts: Index, lengths: Index, pad: int, shift: bool) -> tuple[Index, Index]:
    columns = np.arange(int(lengths.max()), dtype=np.int64)
    real = columns < lengths[:, None]
    at = np.where(real, starts[:, None] + columns, 0)
    values = np.where(real, flat[at], pad).astype(np.int64)
    return values, np.where(real, flat[at + 1], -1).astype(np.int64) if shift else values


def _layout(lengths: Index, shape: tuple[int, ...]) -> Layout:
    if lengths.min() == shape[1]:
        return dense(shape[0], shape[1])
    return right_padded(tensor(lengths), shape[1])


def packed(pieces: Pieces, rows: list[Index]) -> Batch:
    """Several pieces per row, one behind the other: same `segments` on both sides, positions from 0 in each piece."""
    chosen = np.concatenate(rows)
    counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    row = np.repeat(np.arange(len(rows), dtype=np.int64), counts)
    first = counts.cumsum() - counts
    number = np.arange(len(chosen), dtype=np.int64) - first[row]
    target = _place(pieces.target, chosen, row, number, first, pieces.pad)
    targets = target.targets
    examples = tuple(pieces.example[chosen].tolist())
    if pieces.source is None:
        return Batch(target.inputs, target.layout, targets, examples=examples)
    source = _place(pieces.source, chosen, row, number, first, pieces.pad)
    return Batch(target.inputs, target.layout, targets, source.inputs, source.layout, examples=examples)


def _place(side: Side, chosen: Index, row: Index, number: Index, first: Index, pad: int) -> Batch:
    lengths = side.lengths[chosen]
    ends = lengths.cumsum()
    before = ends - lengths  # slots of all pieces before this one
    column = before - before[first][row]  # where in its row a piece starts
    shape = len(first), int((column + lengths).max())
    piece = np.repeat(np.arange(len(chosen), dtype=np.int64), lengths)
    within = np.arange(int(ends[-1]), dtype=np.int64) - before[piece]
    slots = row[piece] * shape[1] + column[piece] + within
    at = side.starts[chosen][piece] + within
    grids = [np.full(shape, fill, dtype=np.int64) for fill in (pad, -1, -1, 0)]
    last = np.minimum(at + 1, len(side.flat) - 1)
    for grid, values in zip(grids, (side.flat[at], side.flat[last], within, number[piece]), strict=True):
        grid.reshape(-1)[slots] = values
    inputs, targets, positions, segments = map(tensor, grids)
    return Batch(inputs, Layout(positions, segments), targets)
