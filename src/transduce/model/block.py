"""Sublayers, all of one signature, and a block: a list of them, each joined to the stream by its residual.

The modules of a block are its children, named by what they are: `mix`, `cross`, `feed`, `bridge`, `beside`, and
`mix_residual`, `cross_residual`, ... So a parameter has the same name whatever stands around it. A sublayer owns no
module: it says what is done with those that it names.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer
from transduce.model.ops.precision import lowered
from transduce.model.residual.residual import Function, Residual, Stream
from transduce.model.state import State, choose, over, tensors


class Sublayer(ABC):
    """(block, x, layout, state, memory) -> (y, state).

    names: the children of the block that it uses, in order. inner: the sublayers that it is made of.
    state: what it keeps between calls. memory: what it wrote of a source. takes_stream: x in the precision of the
    stream, not of products, because norms stand inside.
    """

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]: ...

    @property
    def inner(self) -> "tuple[Sublayer, ...]":
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
        """Returns what this sublayer reads of the source (B, N, M) at every step, written once.

        encoder_state: of the encoder's block of the same number, where the decoder goes on from it.
        """
        return None


@dataclass(frozen=True)
class Mix(Sublayer):
    """Causal: each token is written, then read.

    bridge: the mixer goes on from what the encoder's block of the same number kept, which `bridge` turns into a state.
    """

    mixer: str = "mix"
    bridge: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.mixer,) if self.bridge is None else (self.mixer, self.bridge)

    def init_state(
        self, block: "Block", batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype
    ) -> State:
        return block.mixer(self.mixer).init_state(batch, max_len, device=device, dtype=dtype)

    def remember(self, block: "Block", source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return None if self.bridge is None else getattr(block, self.bridge)(encoder_state)

    def __call__(self, block: "Block", x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        mixer = block.mixer(self.mixer)
        require_heeded(mixer, layout)
        if self.bridge is None:
            return mixer(x, layout, state)
        y, after = mixer(x, later(layout), self.begin(block, x, layout, state, memory))
        return y, None if state is None else after

    def begin(self, block: "Block", x: Tensor, layout: Layout, state: State, memory: State) -> State:
        """Returns the state before x: where a sequence starts, what the bridge made, or else an empty one. Rows start
        whole."""
        if self.bridge is None:
            mixer = block.mixer(self.mixer)
            parameter = next(mixer.parameters())
            empty = mixer.init_state(x.shape[0], x.shape[1], device=x.device, dtype=parameter.dtype)
        else:
            beams = x.shape[0] // next(tensors(memory)).shape[0]
            empty = over(memory, lambda s: s if beams == 1 else s.repeat_interleave(beams, 0))
        return empty if state is None else choose(layout.starts.any(1), empty, state)


def require_heeded(mixer: Mixer, layout: Layout) -> None:
    """Raises UserError if a layout says what tokens see, and a mixer does not ask."""
    if layout.view is not None and not mixer.by_reach:
        raise UserError(
            f"{type(mixer).__name__} sees tokens in their order only, but the text has a prefix, blanks or an order of "
            f"its own; use mixer=attention"
        )


@dataclass(frozen=True)
class Encode(Sublayer):
    """Every token sees the whole sequence. keep: leave what was written for a decoder that goes on from it."""

    mixer: str = "mix"
    keep: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.mixer,)

    def __call__(self, block: "Block", x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        mixer = block.mixer(self.mixer)
        require_heeded(mixer, layout)
        return mixer.encode_and_write(x, layout) if self.keep else (mixer.encode(x, layout), None)


@dataclass(frozen=True)
class Cross(Sublayer):
    """Every token reads what the mixer wrote of the source. x may have K rows for each row of the memory."""

    mixer: str = "cross"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.mixer,)

    def remember(self, block: "Block", source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return block.mixer(self.mixer).write(source, layout)

    def __call__(self, block: "Block", x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        mixer, (rows, tokens, width) = block.mixer(self.mixer), x.shape
        layout = layout._replace(view=None)  # it says who sees whom in the target
        sources = next(tensors(memory)).shape[0]
        if rows == sources:
            return mixer.read(x, layout, memory), None
        # The beams of a source ask the same memory, so their tokens can stand in one row: nothing is repeated.
        together = Layout(layout.positions.reshape(sources, -1))
        return mixer.read(x.reshape(sources, -1, width), together, memory).reshape(rows, tokens, width), None


@dataclass(frozen=True)
class Inside(Sublayer):
    """The source is read within the recurrence: c_t with what the mixer knew before t, then the mixer takes x_t + c_t.

    y_t = mixer(x_t + c_t) + c_t, c_t = cross(mixer read at t - 1). With a GRU and additive attention this is
    Bahdanau et al. 2014, arXiv:1409.0473, sec. A.1.2, the matrices of x_t and c_t factored. Token by token always.
    """

    mix: Mix
    cross: Cross

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.mix.names, *self.cross.names)

    @property
    def inner(self) -> tuple[Sublayer, ...]:
        return self.mix, self.cross

    def init_state(
        self, block: "Block", batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype
    ) -> State:
        return self.mix.init_state(block, batch, max_len, device=device, dtype=dtype)

    def remember(self, block: "Block", source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return self.mix.remember(block, source, layout, encoder_state), self.cross.remember(block, source, layout)

    def __call__(self, block: "Block", x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        first, source = memory
        mixer = block.mixer(self.mix.mixer)
        after, outputs = self.mix.begin(block, x, layout, state, first), list[Tensor]()
        for t in range(x.shape[1]):
            now = layout.slice(t, t + 1)
            then = now if self.mix.bridge is None else later(now)
            c, _ = self.cross(block, mixer.read(x[:, t : t + 1], then, after), now, None, source)
            y, after = mixer(x[:, t : t + 1] + c, then, after)
            outputs.append(y + c)
        return torch.cat(outputs, 1), None if state is None else after


def later(layout: Layout) -> Layout:
    """Returns the same one position on, so that no token is the first: the source came before it."""
    reach = None if layout.reach is None else layout.reach + 1
    return layout._replace(positions=torch.where(layout.valid, layout.positions + 1, -1)).seen(layout.places, reach)


@dataclass(frozen=True)
class Feed(Sublayer):
    """Each token alone."""

    feedforward: str = "feed"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.feedforward,)

    def __call__(self, block: "Block", x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        feedforward: Any = getattr(block, self.feedforward)
        return feedforward(x, layout.valid) if getattr(feedforward, "asks_valid", False) else feedforward(x), None


@dataclass(frozen=True)
class Normed(Sublayer):
    """A sublayer with a norm of its own before it, where several stand side by side: GPT-NeoX."""

    part: Sublayer

    @property
    def norm(self) -> str:
        return f"{self.part.names[0]}_norm"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.norm, *self.part.names)

    @property
    def inner(self) -> tuple[Sublayer, ...]:
        return (self.part,)

    @property
    def takes_stream(self) -> bool:
        return True

    def init_state(
        self, block: "Block", batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype
    ) -> State:
        return self.part.init_state(block, batch, max_len, device=device, dtype=dtype)

    def remember(self, block: "Block", source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return self.part.remember(block, source, layout, encoder_state)

    def __call__(self, block: "Block", x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        return self.part(block, lowered(getattr(block, self.norm)(x)), layout, state, memory)


@dataclass(frozen=True)
class Sum(Sublayer):
    """Sublayers side by side on the same input, added: the parallel block of GPT-J."""

    parts: tuple[Sublayer, ...]

    @property
    def inner(self) -> tuple[Sublayer, ...]:
        return self.parts

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for part in self.parts for name in part.names)

    @property
    def residual(self) -> str:
        return "residual"

    def init_state(
        self, block: "Block", batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype
    ) -> State:
        return tuple(part.init_state(block, batch, max_len, device=device, dtype=dtype) for part in self.parts)

    def remember(self, block: "Block", source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return tuple(part.remember(block, source, layout, encoder_state) for part in self.parts)

    def __call__(self, block: "Block", x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        absent = (None,) * len(self.parts)
        results = [
            part(block, x, layout, s, m)
            for part, s, m in zip(self.parts, state or absent, memory or absent, strict=True)
        ]
        return torch.stack([y for y, _ in results]).sum(0), tuple(s for _, s in results)


def of(f: Function, x: Tensor) -> Function:
    """Returns f of x, whatever it is called with."""
    return lambda _: f(x)


class Block(nn.Module):
    """Sublayers in order, each with its residual.

    modules: the children that the sublayers name. beside: the last sublayer reads what enters the block.
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
        """Yields the sublayers, and those inside them."""
        waiting = list(self.sublayers)
        while waiting:
            part = waiting.pop(0)
            waiting[:0] = part.inner
            yield part

    def crosses(self) -> list[Mixer]:
        """Returns the mixers that read a source."""
        return [self.mixer(part.mixer) for part in self.every() if isinstance(part, Cross)]

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return tuple(part.init_state(self, batch, max_len, device=device, dtype=dtype) for part in self.sublayers)

    def remember(self, source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return tuple(part.remember(self, source, layout, encoder_state) for part in self.sublayers)

    def forward(
        self, stream: Stream, layout: Layout, state: State = None, memory: State = None
    ) -> tuple[Stream, State]:
        absent = (None,) * len(self.sublayers)
        after: list[State] = []
        entered = stream
        for part, s, m in zip(self.sublayers, state or absent, memory or absent, strict=True):
            f = partial(self.apply_part, part, layout=layout, state=s, memory=m)
            past = self.last_reads_entry and len(after) == len(self.sublayers) - 1
            stream, s = getattr(self, part.residual)(stream, of(f, entered) if past else f)
            after.append(s)
        return stream, tuple(after)

    def apply_part(
        self, part: Sublayer, x: Tensor, layout: Layout, state: State, memory: State
    ) -> tuple[Tensor, State]:
        """Returns what a sublayer gives of x in the precision of its products."""
        return part(self, x if part.takes_stream else lowered(x), layout, state, memory)
