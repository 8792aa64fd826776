"""The memory of mixers that keep every token: a list of what each token wrote, and a rule for what a query sees of it.

A mixer chooses the tensors (B, T, ...) that a token writes: keys and values, a latent, features of boundaries. Where
they are stored, which tokens windows, padding and documents hide, and which are dropped, is the same for all of them.

Tensors are stored as (B, ..., N, D), the tokens of each head side by side, so that a query reads them in order. A mixer
writes and sees (B, N, ..., D), another view of the same numbers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from transduce.model.layout import Layout, Visibility
from transduce.model.ops.rows import alike
from transduce.model.state import State

Fields = tuple[Tensor, ...]
BLOCK = 16  # tokens: where rows are to be alike, queries see a multiple of it, so that sums over keys are alike, too


class Memory(NamedTuple):
    """The memory of whole sequences, written at once."""

    fields: Fields  # (B, ..., N, D)
    positions: Tensor | None = None  # (B, N), -1 = padding; None: no padding
    segments: Tensor | None = None  # (B, N); None: one document per row


class Cache(NamedTuple):
    """The memory of rows that are written step by step.

    A token lies in the slot of its position (modulo the window, if there is one). So a new document overwrites the old
    one, and the part of the old one that is left lies ahead, where causality hides it. Padding goes to the last slot.
    """

    fields: Fields  # (B, ..., N + 1, D)
    positions: Tensor  # (B, N + 1), -1 = empty


class Seen(NamedTuple):
    """N written tokens for queries to look at, and a mask of those that each query sees."""

    fields: Fields  # (B, N, ..., D)
    positions: Tensor  # (B, N) of the written tokens; a slot that no query sees may hold any number
    mask: Tensor | None  # (B, 1, T or 1, N) bool, True = sees; None: all, or with `causal` slot t sees slots 0..t
    causal: bool = False


class Recall:
    """A list of tokens and the rule by which they are seen; it holds no tensors."""

    def __init__(self, window: int | None = None, sinks: int = 0) -> None:
        self.rule = Visibility(causal=True, window=window, sinks=sinks)
        self.around = Visibility(causal=False, window=window, sinks=sinks)

    def empty(
        self, batch: int, max_len: int, shapes: Sequence[tuple[int, ...]], device: torch.device, dtype: torch.dtype
    ) -> Cache:
        """Returns room for `max_len` tokens, or a few more, that each write tensors of `shapes`."""
        if self.rule.window is not None:
            max_len = min(max_len, self.rule.window + self.rule.sinks)
        slots = blocks(max_len) + 1
        fields = (torch.zeros(batch, *s[:-1], slots, s[-1], device=device, dtype=dtype) for s in shapes)
        return Cache(tuple(fields), torch.full((batch, slots), -1, device=device))

    def forward(self, new: Fields, layout: Layout, state: Cache | None) -> tuple[Seen, Cache | None]:
        """Writes tokens (B, T, ...), and returns what each of them then sees, and the state (None: it was None)."""
        tokens = layout.positions.shape[1]
        if state is None:
            # Padding on the right lies ahead of all tokens, and a window as wide as the row hides nothing.
            simple = layout.segments is None and (self.rule.window is None or self.rule.window >= tokens)
            simple = simple and layout.reach is None
            mask = None if simple else self.rule.mask(layout, layout.positions, layout.segments)
            return Seen(new, layout.positions, mask, simple), None
        if tokens == 1 or (layout.segments is None and self.rule.window is None):
            simple = self.rule.window is None and not layout.padded  # then a slot is a position
            if simple and layout.start is not None and layout.reach is None and not torch.is_grad_enabled():
                return self.append(new, layout, layout.start, state)
            slots = layout.positions if simple else self.slots(layout.positions, state)
            state = store(state, new, slots, layout.positions)
            fields, positions = used(state, layout.positions)
            return Seen(fields, positions, self.rule.mask(layout, positions, None)), state
        # Several tokens may begin documents, or fall out of the window while the chunk is read. So the queries look at
        # the old memory and the chunk side by side; then the last document of each row is stored.
        document = layout.starts.cumsum(1)
        first = torch.where(layout.valid & (document == 0), layout.positions, 1 << 62).amin(1, keepdim=True)
        fields, old = used(state, layout.positions)
        old = torch.where(old < first, old, -1)
        positions, members = torch.cat([old, layout.positions], 1), torch.cat([torch.zeros_like(old), document], 1)
        mask = self.rule.mask(Layout(layout.positions, document, view=layout.view), positions, members)
        both = tuple(torch.cat([a.to(b.dtype), b], 1) for a, b in zip(fields, new, strict=True))
        remaining = self.remaining(layout.positions, document)
        return Seen(both, positions, mask), store(state, new, self.slots(remaining, state), remaining)

    def append(self, new: Fields, layout: Layout, start: int, state: Cache) -> tuple[Seen, Cache]:
        """Does as `forward` for tokens from position `start` on, without padding: their slots are side by side."""
        stop = start + layout.positions.shape[1]
        for old, value in zip(state.fields, new, strict=True):
            by_token(old)[:, start:stop] = value
        state.positions[:, start:stop] = layout.positions
        if alike(state.positions):
            stop = min(state.positions.shape[1] - 1, blocks(stop))
        elif start == 0:
            return Seen(new, layout.positions, None, causal=True), state
        fields, positions = tuple(by_token(field[..., :stop, :]) for field in state.fields), state.positions[:, :stop]
        whole = layout.positions.shape[1] == 1 and not alike(positions) and int(positions.amin()) >= 0
        return Seen(fields, positions, None if whole else self.rule.mask(layout, positions, None)), state

    def write(self, new: Fields, layout: Layout, state: Cache | None = None) -> Memory | Cache:
        """Writes tokens (B, T, ...) without looking at any."""
        if state is not None:
            remaining = self.remaining(layout.positions, layout.starts.cumsum(1))
            return store(state, new, self.slots(remaining, state), remaining)
        if not layout.padded and self.rule.window is None and layout.reach is None:
            return Memory(by_head(new))
        return Memory(by_head(new), layout.positions, layout.segments)

    def read(self, layout: Layout, state: Memory | Cache) -> Seen:
        """Returns what the queries of a layout see of all written tokens, before and behind them."""
        fields = tuple(by_token(field) for field in state.fields)
        if isinstance(state, Cache):
            return Seen(fields, state.positions, self.around.mask(layout, state.positions, None))
        if state.positions is None:
            batch, tokens = fields[0].shape[:2]
            return Seen(fields, torch.arange(tokens, device=layout.positions.device).expand(batch, tokens), None)
        rows = layout.segments is None or state.segments is None
        if self.rule.window is None and rows and layout.reach is None:
            return Seen(fields, state.positions, (state.positions >= 0)[:, None, None])
        return Seen(fields, state.positions, self.around.mask(layout, state.positions, state.segments))

    def slots(self, positions: Tensor, state: Cache) -> Tensor:
        """Returns the slot of each token, (B, T): its position, wrapped behind the sinks where there is a window."""
        last = state.positions.shape[1] - 1
        slot = positions
        if self.rule.window is not None:
            sinks = self.rule.sinks
            slot = torch.where(slot < sinks, slot, sinks + (slot - sinks) % max(1, last - sinks))
        return torch.where(positions < 0, last, slot)

    def remaining(self, positions: Tensor, document: Tensor) -> Tensor:
        """Returns the positions, with -1 for tokens that do not outlive the chunk.

        Those are tokens of earlier documents, and tokens that have left the window at its end.
        """
        remains = document == document[:, -1:]
        if self.rule.window is not None:
            last = torch.where(remains, positions, -1).amax(1, keepdim=True)
            remains = remains & ((positions > last - self.rule.window) | (positions < self.rule.sinks))
        return torch.where(remains, positions, -1)


def by_token(field: Tensor) -> Tensor:
    """Returns (B, N, ..., D) of (B, ..., N, D), as a view."""
    return field.movedim(-2, 1)


def by_head(new: Fields) -> Fields:
    """Returns (B, ..., N, D) of (B, N, ..., D): a view where gradients are on, else a copy, which reads faster."""
    fields = (field.movedim(1, -2) for field in new)
    return tuple(fields if torch.is_grad_enabled() else (field.contiguous() for field in fields))


def blocks(tokens: int) -> int:
    """Returns the next multiple of BLOCK."""
    return -(-tokens // BLOCK) * BLOCK


def store(state: Cache, new: Fields, slots: Tensor, positions: Tensor) -> Cache:
    """Returns the cache with tokens `new` (B, T, ...) in slots (B, T): the same one, unless gradients are on."""
    rows = torch.arange(slots.shape[0], device=slots.device)[:, None]
    put = torch.Tensor.index_put if torch.is_grad_enabled() else torch.Tensor.index_put_
    at = (rows, slots)
    fields = tuple(
        put(by_token(old), at, value.to(old.dtype)).movedim(1, -2) for old, value in zip(state.fields, new, strict=True)
    )
    return Cache(fields, put(state.positions, at, positions))


def used(state: Cache, queries: Tensor) -> tuple[Fields, Tensor]:
    """Returns the slots (B, N, ...) that queries at positions (B, T) may see, and their positions.

    Where rows are to be alike, they come in whole blocks. They are fewer than all only on a CPU: on a GPU, reading the
    last position would wait for the device.
    """
    last = state.positions.shape[1] - 1
    if queries.device.type == "cpu" and not torch.compiler.is_compiling():
        tokens = int(queries.amax()) + 1
        last = min(last, blocks(tokens) if alike(state.positions) else tokens)
    return tuple(by_token(field[..., :last, :]) for field in state.fields), state.positions[:, :last]


def written(state: Cache) -> int:
    """Returns how many slots there are up to the last that holds a token; on a GPU, which would wait, all."""
    room = state.positions.shape[1]
    return min(room, int(state.positions.amax()) + 1) if state.positions.device.type == "cpu" else room


def take(state: State, rows: Tensor) -> State:
    """Returns rows `rows` (B',) of a state, as `select` does. Of lists of tokens, slots that hold none are not read."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state.index_select(0, rows)
    if not isinstance(state, Cache):
        parts = [take(part, rows) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    count, fields = written(state), list[Tensor]()
    for old in state.fields:
        new = old.new_zeros(len(rows), *old.shape[1:])
        new[..., :count, :] = old[..., :count, :].index_select(0, rows)
        fields.append(new)
    return Cache(tuple(fields), state.positions.index_select(0, rows))


def overwrite(state: State, rows: Tensor, into: Tensor) -> State:
    """Makes rows `into` copies of rows `rows`, in place; returns the state. Slots that hold no token stay as they are.

    rows, into: (n,), whose order does not matter: all are read before any is written.
    """
    if isinstance(state, Tensor):
        state.index_copy_(0, into, state.index_select(0, rows))
    elif isinstance(state, Cache):
        count = written(state)
        for field in state.fields:
            overwrite(field[..., :count, :], rows, into)
        overwrite(state.positions, rows, into)
    elif state is not None:
        for part in state:
            overwrite(part, rows, into)
    return state
