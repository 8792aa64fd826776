"""The state of a layer between calls: a value, and the functions that act on any such value.

A state is a NamedTuple or tuple (nested if need be) of tensors whose first dimension is B, of whole numbers that hold
for all rows, or None. That sentence is the whole protocol. A state passed to a mixer is spent; use the one that comes
back, since a cache may be updated in place.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

State = Any  # nested tuples of (B, ...) tensors, int and None


def over(state: State, f: Callable[[Tensor], Tensor]) -> State:
    """Returns the same structure with f applied to every tensor."""
    if state is None or isinstance(state, int):
        return state
    if isinstance(state, Tensor):
        return f(state)
    parts = [over(part, f) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def tensors(state: State) -> Iterator[Tensor]:
    """Yields every tensor of a state, in order."""
    if isinstance(state, Tensor):
        yield state
    elif state is not None and not isinstance(state, int):
        for part in state:
            yield from tensors(part)


def select(state: State, rows: Tensor) -> State:
    """Returns rows `rows` (B',) of every tensor: to reorder beams, repeat a prompt, drop finished requests."""
    return over(state, lambda x: x.index_select(0, rows))


def snapshot(state: State) -> State:
    """Returns a copy that later updates in place cannot reach."""
    return over(state, torch.clone)


def insert(state: State, rows: Tensor, other: State) -> State:
    """Returns `state` with rows `rows` (B',) replaced by those of `other`, which has B' rows."""
    values = iter(list(tensors(other)))
    return over(state, lambda x: x.index_copy(0, rows, next(values).to(x.dtype)))


def join(states: Sequence[State]) -> State:
    """Returns one state with the rows of several, one below the other. Lists of tokens become as long as the longest;
    the places behind the others' hold zeros, and -1, which is no position."""
    columns = zip(*map(tensors, states), strict=True)
    return states[0] if len(states) == 1 else over(states[0], lambda _: torch.cat(alike(next(columns))))


def alike(parts: Sequence[Tensor]) -> list[Tensor]:
    """Returns tensors that differ in their rows alone, each filled up at its ends."""
    shape = [max(sizes) for sizes in zip(*(x.shape[1:] for x in parts), strict=True)]
    wider = [
        [n for size, x_size in zip(shape[::-1], x.shape[:0:-1], strict=True) for n in (0, size - x_size)] for x in parts
    ]
    return [F.pad(x, more, value=0 if x.is_floating_point() else -1) for x, more in zip(parts, wider, strict=True)]


def choose(rows: Tensor, one: State, other: State) -> State:
    """Returns `one` in the rows where `rows` (B,) bool is true, `other` elsewhere; both of one structure."""
    values = iter(list(tensors(other)))
    return over(one, lambda x: torch.where(rows.view(-1, *[1] * (x.ndim - 1)), x, next(values)))


def assign(state: State, other: State) -> State:
    """Copies `other` into the memory of `state` (for CUDA graphs, whose addresses are fixed); returns `state`."""
    for mine, theirs in zip(tensors(state), tensors(other), strict=True):
        mine.copy_(theirs)
    return state


def nbytes(state: State) -> int:
    """Returns the bytes of all tensors."""
    return sum(x.numel() * x.element_size() for x in tensors(state))
