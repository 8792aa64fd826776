"""Losses that arise inside a model, beside what it computes: how evenly experts are used, how long was pondered.

    with collecting() as losses:
        hidden = model.features(batch)
    loss = ... + losses.total()

A module calls `note` whenever it runs. Nobody collects while activations are computed again in the backward pass, so
nothing is counted twice.

Tested in tests/model/test_experts.py.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor


class Noted(NamedTuple):
    """A mean over tokens, and how much it counts beside the loss of a token."""

    name: str
    value: Tensor
    weight: float


class Auxiliary(list[Noted]):
    """The losses that modules noted, in order."""

    def total(self) -> Tensor:
        """Returns the weighted sum, float32."""
        return torch.stack([noted.weight * noted.value for noted in self]).sum()

    def means(self) -> dict[str, Tensor]:
        """Returns, by name, the mean of what was noted, unweighted and without gradient."""
        names = dict.fromkeys(noted.name for noted in self)
        return {name: torch.stack([n.value.detach() for n in self if n.name == name]).mean() for name in names}


_collector: ContextVar[Auxiliary | None] = ContextVar("auxiliary", default=None)


@contextmanager
def collecting() -> Generator[Auxiliary]:
    """Keeps what modules note inside."""
    losses = Auxiliary()
    token = _collector.set(losses)
    try:
        yield losses
    finally:
        _collector.reset(token)


def _keep(noted: Noted) -> None:
    losses = _collector.get()
    if losses is not None:
        losses.append(noted)


# A compiled block would take whoever collects while it is traced for whoever collects. This is what
# `torch.compiler.disable` sets, which imports the compiler, a second's work, where nothing may ever be compiled.
_keep._torchdynamo_disable = True  # pyright: ignore[reportFunctionMemberAccess]


def note(name: str, value: Tensor, weight: float) -> None:
    """Tells whoever collects of a loss; does nothing if nobody does."""
    _keep(Noted(name, value, weight))
