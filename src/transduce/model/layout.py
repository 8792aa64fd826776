"""A layout: where each slot of a (B, T) grid sits in its own sequence, and who may see whom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor


class Marks(NamedTuple):
    """Marks of tokens beside their order; each is (B, T) int64, or None: all 0."""

    types: Tensor | None = None  # the kind of each token, such as first or second sentence (BERT)
    inner: Tensor | None = None  # the place of each token inside its blank (GLM)


class View(NamedTuple):
    """Exceptions to the rule that the order says who sees whom; each is (B, T) int64, or None: as the order says."""

    places: Tensor | None = None  # what encodings take for positions (XLNet, GLM)
    reach: Tensor | None = None  # the last position that a token sees (prefixes)


class Grid(NamedTuple):
    """Places in a picture; each is (B, T) int64, counted from 0 at the top left; -1: a slot that is no part of it."""

    rows: Tensor
    columns: Tensor


Fields = TypeVar("Fields", Marks, View, Grid)


class Layout(NamedTuple):
    """The geometry of a batch: one value for attention masks, position ids, cache positions and document borders.

    Which of segments and lengths is None is known without looking at data and selects the fast path:
    both: every slot is a real token and a row is one sequence;
    `lengths`: the first `lengths[b]` slots of row b are real, the rest is padding on the right;
    `segments`: anything (padding anywhere, several documents in a row); rules are evaluated slot by slot.
    """

    positions: Tensor  # (B, T) int64: place of the slot in its own sequence; -1 = padding; 0 = a sequence starts
    segments: Tensor | None = None  # (B, T) int64: which document of the row
    lengths: Tensor | None = None  # (B,) int64: real tokens per row
    marks: Marks | None = None  # of the tokens; None: there are none
    view: View | None = None  # who sees whom where it is not the order that says it; None: all, or what came before
    grid: Grid | None = None  # where slots stand in a picture; None: they are a line, such as text
    start: int | None = None  # position of each row's first slot, which the others follow; None: decoding has not told

    @property
    def types(self) -> Tensor | None:
        return None if self.marks is None else self.marks.types

    @property
    def inner(self) -> Tensor | None:
        return None if self.marks is None else self.marks.inner

    @property
    def places(self) -> Tensor | None:
        return None if self.view is None else self.view.places

    @property
    def reach(self) -> Tensor | None:
        return None if self.view is None else self.view.reach

    @property
    def place(self) -> Tensor:
        """Returns (B, T) int64: where encodings of position say that a token stands."""
        return self.positions if self.places is None else self.places

    @property
    def valid(self) -> Tensor:
        """Returns (B, T) bool: the slot holds a token."""
        return self.positions >= 0

    @property
    def starts(self) -> Tensor:
        """Returns (B, T) bool: a sequence starts here."""
        return self.positions == 0

    @property
    def padded(self) -> bool:
        """Says whether some slot may be padding; known from the fields alone."""
        return self.lengths is not None or self.segments is not None

    def slice(self, start: int, stop: int) -> "Layout":
        """Returns the same rows, slots start..stop-1, in the general form where there is padding."""

        def cut(x: Tensor) -> Tensor:
            return x[:, start:stop]

        segments = None if self.segments is None else cut(self.segments)
        lengths = None
        if segments is None and self.lengths is not None:
            lengths = (self.lengths - start).clamp(0, stop - start)
        marks, view, grid = mapped(self.marks, cut), mapped(self.view, cut), mapped(self.grid, cut)
        first = None if self.start is None or self.padded else self.start + start
        return Layout(cut(self.positions), segments, lengths, marks, view, grid, first)

    def rows(self, index: Tensor) -> "Layout":
        """Returns rows `index` (B',) of every field."""

        def take(x: Tensor) -> Tensor:
            return x.index_select(0, index)

        segments, lengths = (None if x is None else take(x) for x in (self.segments, self.lengths))
        marks, view, grid = mapped(self.marks, take), mapped(self.view, take), mapped(self.grid, take)
        return Layout(take(self.positions), segments, lengths, marks, view, grid, self.start)

    def seen(self, places: Tensor | None, reach: Tensor | None) -> "Layout":
        """Returns the layout with another view; with neither argument, without one."""
        return self._replace(view=None if places is None and reach is None else View(places, reach))


def mapped(fields: Fields | None, f: Callable[[Tensor], Tensor]) -> Fields | None:
    """Returns marks, a view or a grid with every tensor of it replaced by f of it."""
    return None if fields is None else type(fields)(*(None if x is None else f(x) for x in fields))  # pyright: ignore[reportArgumentType]


def prefixed(layout: Layout, prefix: Tensor) -> Layout:
    """Returns the layout with the first tokens of each sequence seeing one another: a prefix-LM.

    Raffel et al. 2020, sec. 3.2.1. prefix: (B, T) int64, how many tokens the prefix of each token's sequence has. A
    chunk that is read with a state must hold all of a prefix, or begin behind it.
    """
    return layout.seen(layout.places, torch.where(layout.positions < prefix, prefix - 1, layout.positions))


def dense(batch: int, tokens: int, start: int = 0, device: torch.device | str | None = None) -> Layout:
    """Returns the layout of rows of one sequence each: `tokens` tokens, the first of which sits at position `start`."""
    return Layout(torch.arange(start, start + tokens, device=device).expand(batch, tokens))


def one_each(positions: Tensor) -> Layout:
    """Returns the layout of rows of one token. positions: (B, 1), looked at on a CPU only, since a GPU would wait."""
    if positions.device.type != "cpu" or torch.compiler.is_compiling():
        return Layout(positions)
    first, last = (int(edge) for edge in positions.aminmax())
    return Layout(positions, start=first if first == last >= 0 else None)


def right_padded(lengths: Tensor, tokens: int) -> Layout:
    """Returns a layout whose row b holds `lengths[b]` tokens, then padding, up to `tokens` slots.

    lengths: (B,) int64.
    """
    slots = torch.arange(tokens, device=lengths.device).expand(lengths.shape[0], tokens)
    return Layout(torch.where(slots < lengths[:, None], slots, -1), lengths=lengths)


def left_padded(lengths: Tensor, tokens: int) -> Layout:
    """Returns a layout whose row b holds padding, then `lengths[b]` tokens, up to slot `tokens`.

    lengths: (B,) int64.
    """
    slots = torch.arange(tokens, device=lengths.device) - (tokens - lengths[:, None])
    return Layout(slots.clamp(min=-1), segments=torch.zeros_like(slots))


def packed(documents: Sequence[Sequence[int]], tokens: int, device: torch.device | str | None = None) -> Layout:
    """Returns a layout whose row b holds documents of `documents[b]` tokens, one behind the other, then padding."""
    positions = torch.full((len(documents), tokens), -1)
    segments = torch.zeros((len(documents), tokens), dtype=torch.int64)
    for row, sizes in enumerate(documents):
        start = 0
        for number, size in enumerate(sizes):
            positions[row, start : start + size] = torch.arange(size)
            segments[row, start : start + size] = number
            start += size
        assert start <= tokens, f"documents of {start} tokens do not fit a row of {tokens}"
    return Layout(positions.to(device), segments.to(device))


def infilling(rows: Sequence[tuple[int, Sequence[tuple[int, int]]]], tokens: int) -> Layout:
    """Row b: a text of n tokens that see one another, then what fills its blanks, each token of which sees the text and
    all before it.   Du et al. 2021, arXiv:2103.10360, sec. 2.1 and fig. 2.

    rows: of each row n, and for each blank in the order in which they are filled (p, s): p where it is in the text, s
    how many tokens are read there, the one that starts it included. Those stand at place p; `inner` counts them from 1.
    """
    grid = right_padded(torch.tensor([n + sum(s for _, s in blanks) for n, blanks in rows]), tokens)
    places, inner = grid.positions.clone(), torch.zeros_like(grid.positions)
    for row, (start, blanks) in enumerate(rows):
        for place, size in blanks:
            places[row, start : start + size], inner[row, start : start + size] = place, torch.arange(1, size + 1)
            start += size
    prefix = torch.tensor([n for n, _ in rows])[:, None]
    grid = prefixed(grid, prefix)._replace(marks=Marks(inner=inner))
    return grid.seen(places, grid.reach)


class Documents(NamedTuple):
    """The documents of a grid as rows of their own, in order of row and segment: (D, L), padded on the right."""

    layout: Layout  # of the documents
    slots: Tensor  # (D, L) where each token stands in the flattened grid, 0 for padding
    shape: tuple[int, int]  # of the grid

    def split(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (D, L, ...)."""
        return x.flatten(0, 1)[self.slots]

    def join(self, x: Tensor) -> Tensor:
        """(D, L, ...) -> (B, T, ...), zeros where there is padding."""
        valid = self.layout.valid
        grid = x.new_zeros(self.shape[0] * self.shape[1], *x.shape[2:])
        return grid.index_put((self.slots[valid],), x[valid]).view(*self.shape, *x.shape[2:])


def documents(layout: Layout) -> Documents:
    """Returns every document of a layout as a row of its own. Looks at the data, so a GPU waits."""
    valid, positions = layout.valid.flatten(), layout.positions.flatten()
    rows = torch.arange(layout.positions.shape[0], device=positions.device)[:, None].expand_as(layout.positions)
    segments = torch.zeros_like(rows) if layout.segments is None else layout.segments
    names = torch.stack([rows.flatten(), segments.flatten()], 1)[valid]
    distinct = cast(tuple[Tensor, Tensor], torch.unique(names, dim=0, return_inverse=True))
    number = distinct[1]
    lengths, unset = number.bincount(), positions.new_full((distinct[0].shape[0],), 1 << 62)
    first = unset.scatter_reduce(0, number, positions[valid], "amin")  # a chunk may begin inside a document
    grid = right_padded(lengths, int(lengths.max()))
    slots = torch.zeros_like(grid.positions)
    slots[number, positions[valid] - first[number]] = valid.nonzero()[:, 0]
    return Documents(grid, slots, (layout.positions.shape[0], layout.positions.shape[1]))


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """A rule about positions, never about indices: which keys a query sees.

    causal: only keys at its own position or before. window: at most this many tokens back, itself included; for a
    rule that is not causal, as many ahead. sinks: the first tokens of the sequence, seen whatever the window.
    The `reach` of a layout stands above causal: it says for each token up to where it sees.
    """

    causal: bool
    window: int | None = None
    sinks: int = 0

    def mask(self, query: Layout, positions: Tensor, segments: Tensor | None) -> Tensor:
        """Returns (B, 1, T, N) bool: query slot t sees the key slot n that sits at positions[b, n] in segments[b, n].

        Padding queries see every key, so that their (unused) rows stay finite; padding keys are seen by nobody.
        """
        q, k = query.positions[:, :, None], positions[:, None, :]
        sees = k >= 0
        if query.reach is not None:
            sees = sees & (k <= query.reach[:, :, None])
        elif self.causal:
            sees = sees & (k <= q)
        if self.window is not None:
            near = (q - k < self.window) if self.causal else ((q - k).abs() < self.window)
            sees = sees & (near | (k < self.sinks)) if self.sinks else sees & near
        if query.segments is not None and segments is not None:
            sees = sees & (query.segments[:, :, None] == segments[:, None, :])
        return (sees | (q < 0) if query.padded else sees)[:, None]
