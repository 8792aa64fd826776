"""Tokens that are tried: read before they are chosen, each to the bit as it is read alone, and taken back if it is not.

What acts on each token alone takes all of them at once, as it takes rows. What goes from token to token does so here
too, and keeps its state after each, unless later tokens leave no trace in it.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from transduce.model.layout import Layout
from transduce.model.state import State, snapshot

Step = Callable[[Tensor, Layout, State], tuple[Tensor, State]]
_trying: ContextVar[bool] = ContextVar("trying", default=False)


class Trail(NamedTuple):
    """The states after each of several tokens, in their order, in the place of the state after all of them."""

    states: tuple[State, ...]


@contextmanager
def trying() -> Generator[None]:
    """Inside, several tokens that are read with a state are tried; to the bit only inside of `rows_alike` too."""
    token = _trying.set(True)
    try:
        yield
    finally:
        _trying.reset(token)


def tried() -> bool:
    """Says whether tokens are tried."""
    return not torch.compiler.is_compiling() and _trying.get()


def one_by_one(step: Step, x: Tensor, layout: Layout, state: State, rewinds: bool) -> tuple[Tensor, State]:
    """Reads tokens (B, T, M) one after the other. Returns their outputs, and the state after all, or a `Trail`.

    rewinds: the state after some tokens serves as that after fewer of them.
    """
    outputs, states = list[Tensor](), list[State]()
    for t in range(x.shape[1]):
        y, state = step(x[:, t : t + 1], layout.slice(t, t + 1), state if rewinds else snapshot(state))
        outputs.append(y)
        states.append(state)
    return torch.cat(outputs, 1), state if rewinds else Trail(tuple(states))


def each(f: Callable[[Tensor, Layout], Tensor], x: Tensor, layout: Layout) -> Tensor:
    """Returns f of every token of x (B, T, M) with its layout, one after the other."""
    return torch.cat([f(x[:, t : t + 1], layout.slice(t, t + 1)) for t in range(x.shape[1])], 1)


def accepted(state: State, tokens: int) -> State:
    """Returns the state of a model after the first `tokens` of those that were tried, at least one."""
    if state is None or isinstance(state, Tensor):
        return state
    if isinstance(state, Trail):
        return state.states[tokens - 1]
    parts = [accepted(part, tokens) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
