"""A block: a list of sublayers, each joined to the stream by its residual; and the contract of sublayers.

The modules of a block are its children, named by what they are: `mix`, `cross`, `feed`, `bridge`, `beside`, and
`mix_residual`, `cross_residual`, ... So a parameter has the same name whatever is around it. A sublayer owns no
module: it computes with the children that it names.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer
from transduce.model.ops.precision import lowered
from transduce.model.residual.residual import Function, Residual, Stream
from transduce.model.state import State


class Sublayer(ABC):
    """A step of a block, (block, x, layout, state, memory) -> (y, state).

    state: is kept between calls, such as a cache.
    memory: was written from a source by `remember`.
    names: the children of the block that it uses, in order.
    inner: the sublayers that it is made of.
    sources: the names of the mixers that read a source.
    takes_stream: x comes in the precision of the stream, not of products, because the sublayer begins with norms.
    """

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]: ...

    @property
    def inner(self) -> "tuple[Sublayer, ...]":
        return ()

    @property
    def sources(self) -> tuple[str, ...]:
        return ()

    @property
    def takes_stream(self) -> bool:
        return any(part.takes_stream for part in self.inner)

    @property
    def residual(self) -> str:
        """Returns the name of the residual that joins it to the stream."""
        return f"{self.names[0]}_residual"

    @abstractmethod
    def __call__(
        self, block: "Block", x: Tensor, layout: Layout, state: State, memory: State
    ) -> tuple[Tensor, State]: ...

    def init_state(
        self, block: "Block", batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype
    ) -> State:
        return None

    def remember(self, block: "Block", source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        """Returns the memory of a source (B, N, M), which is written once and read at every step.

        encoder_state: of the encoder's block of the same number, where the decoder goes on from it.
        """
        return None


def of(f: Function, x: Tensor) -> Function:
    """Returns a function that gives f(x) for any argument."""
    return lambda _: f(x)


class Block(nn.Module):
    """Sublayers in order, each with its residual.

    parts: the sublayers, each with the residual that joins it to the stream.
    modules: the children that the sublayers name.
    beside: the last sublayer reads the stream that enters the block, not that after the sublayers before it.
    """

    def __init__(
        self, parts: Sequence[tuple[Residual, Sublayer]], modules: Mapping[str, nn.Module], beside: bool = False
    ) -> None:
        super().__init__()
        self.sublayers, self.last_reads_entry = tuple(part for _, part in parts), beside
        for residual, part in parts:
            self.add_module(part.residual, residual)
        for part in self.sublayers:
            for name in part.names:
                self.add_module(name, modules[name])
        assert len(self._modules) == len(parts) + len(modules), "every child of a block has a name of its own"

    def mixer(self, name: str) -> Mixer:
        return cast(Mixer, getattr(self, name))

    @property
    def residuals(self) -> list[Residual]:
        """Returns the residuals of the sublayers, in order."""
        return [cast(Residual, getattr(self, part.residual)) for part in self.sublayers]

    def every(self) -> Iterator[Sublayer]:
        """Yields the sublayers, each followed by those inside it."""
        waiting = list(self.sublayers)
        while waiting:
            part = waiting.pop(0)
            waiting[:0] = part.inner
            yield part

    def crosses(self) -> list[Mixer]:
        """Returns the mixers that read a source."""
        return [self.mixer(name) for part in self.every() for name in part.sources]

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return tuple(part.init_state(self, batch, max_len, device=device, dtype=dtype) for part in self.sublayers)

    def remember(self, source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return tuple(part.remember(self, source, layout, encoder_state) for part in self.sublayers)

    def forward(
        self, stream: Stream, layout: Layout, state: State = None, memory: State = None,
        condition: Tensor | None = None,
    ) -> tuple[Stream, State]:  # fmt: skip
        """condition: (B, M), for the residuals that take it."""
        absent = (None,) * len(self.sublayers)
        after: list[State] = []
        entered = stream
        for part, s, m in zip(self.sublayers, state or absent, memory or absent, strict=True):
            f = partial(self.apply_part, part, layout=layout, state=s, memory=m)
            past = self.last_reads_entry and len(after) == len(self.sublayers) - 1
            residual = cast(Residual, getattr(self, part.residual))
            more = (condition,) if residual.conditioned else ()
            stream, s = residual(stream, of(f, entered) if past else f, *more)
            after.append(s)
        return stream, tuple(after)

    def apply_part(
        self, part: Sublayer, x: Tensor, layout: Layout, state: State, memory: State
    ) -> tuple[Tensor, State]:
        """Applies a sublayer to x, in the precision of products unless it takes the stream."""
        return part(self, x if part.takes_stream else lowered(x), layout, state, memory)
