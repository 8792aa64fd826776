"""A model is computed a block at a time, so that others can be served in between, with the same numbers as at once.

A generator yields after every block and returns what the model would have given.
"""

from collections.abc import Callable, Generator
from typing import TypeVar

from torch import Tensor

from transduce.model.batch import Batch
from transduce.model.layout import Layout
from transduce.model.models import Model, Tower
from transduce.model.state import State

R = TypeVar("R")
Slices = Generator[None, None, R]
Read = Callable[[Model, Batch], Slices[Tensor]]


def drained(work: Slices[R]) -> R:
    """Returns what is computed, without a stop."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def stepped(model: Model, ids: Tensor, layout: Layout, state: State, memory: State) -> Slices[tuple[Tensor, State]]:
    """Returns what `Model.step` gives."""
    return (yield from through(model.towers()[-1], ids, layout, state, memory))


def at_once(model: Model, batch: Batch) -> Slices[Tensor]:
    """`Model.features`, without a stop."""
    yield from ()
    return model.features(batch)


def featured(model: Model, batch: Batch) -> Slices[Tensor]:
    """Returns what `Model.features` gives for a batch that is not packed."""
    memory = None
    if batch.source is not None:
        memory = model.remember(batch.source, batch.source_layout)
        yield
    hidden, _ = yield from through(model.towers()[-1], batch.inputs, batch.layout, None, memory)
    return hidden


def through(
    tower: Tower, ids: Tensor, layout: Layout, state: State, memory: State
) -> Slices[tuple[Tensor, State]]:  # fmt: skip
    """Returns what the stack of a tower gives for embedded ids."""
    stack = tower.stack
    stream, layout, after = stack.enter(tower.embed(ids, layout)), tower.embed.arrange(layout), list[State]()
    absent = (None,) * len(stack.order)
    for block, own, read in zip(stack, state or absent, memory or absent, strict=True):
        stream, own = block(stream, layout, own, read)
        after.append(own)
        yield
    return stack.leave(stream), tuple(after)
