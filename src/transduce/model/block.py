"""Sublayers, all of one signature, and a block: a list of them, each joined to the stream by its residual."""

from abc import ABC, abstractmethod
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer
from transduce.model.ops.precision import lowered
from transduce.model.residual.residual import Function, Residual, Stream
from transduce.model.state import State, choose, over, tensors


class Sublayer(nn.Module, ABC):
    """(x, layout, state, memory) -> (y, state).

    state: what it keeps between calls. memory: what it wrote of a source. takes_stream: x in the precision of the
    stream, not of products, because norms stand inside.
    """

    takes_stream = False

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]: ...

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return None

    def remember(self, source: Tensor, layout: Layout, kept: State = None) -> State:
        """What this sublayer reads of the source (B, N, M) at every step, written once. kept: what the encoder's block
        of the same number left behind, where it is to be gone on from."""
        return None


class Mix(Sublayer):
    """Causal: each token is written, then read.

    bridge: the mixer goes on from what the encoder's block of the same number kept, which `bridge` turns into a state.
    """

    def __init__(self, mixer: Mixer, bridge: nn.Module | None = None) -> None:
        super().__init__()
        self.mixer, self.bridge = mixer, bridge

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return self.mixer.init_state(batch, max_len, device=device, dtype=dtype)

    def remember(self, source: Tensor, layout: Layout, kept: State = None) -> State:
        return None if self.bridge is None else self.bridge(kept)

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        require_heeded(self.mixer, layout)
        if self.bridge is None:
            return self.mixer(x, layout, state)
        y, after = self.mixer(x, later(layout), self.begin(x, layout, state, memory))
        return y, None if state is None else after

    def begin(self, x: Tensor, layout: Layout, state: State, memory: State) -> State:
        """The state before x: where a sequence starts, what the bridge made, or else an empty one. Rows start whole."""
        if self.bridge is None:
            parameter = next(self.mixer.parameters())
            empty = self.mixer.init_state(x.shape[0], x.shape[1], device=x.device, dtype=parameter.dtype)
        else:
            beams = x.shape[0] // next(tensors(memory)).shape[0]
            empty = over(memory, lambda s: s if beams == 1 else s.repeat_interleave(beams, 0))
        return empty if state is None else choose(layout.starts.any(1), empty, state)


def require_heeded(mixer: Mixer, layout: Layout) -> None:
    """Raise UserError if a layout says what tokens see, and a mixer does not ask."""
    if (layout.reach is not None or layout.places is not None) and not mixer.by_reach:
        raise UserError(
            f"{type(mixer).__name__} sees tokens in their order only, but the text has a prefix, blanks or an order of "
            f"its own; use mixer=attention"
        )


class Encode(Sublayer):
    """Every token sees the whole sequence. keep: leave what was written for a decoder that goes on from it."""

    def __init__(self, mixer: Mixer, keep: bool = False) -> None:
        super().__init__()
        self.mixer, self.keep = mixer, keep

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        require_heeded(self.mixer, layout)
        return self.mixer.encode_and_write(x, layout) if self.keep else (self.mixer.encode(x, layout), None)


class Cross(Sublayer):
    """Every token reads what the mixer wrote of the source. x may have K rows for each row of the memory."""

    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.mixer = mixer

    def remember(self, source: Tensor, layout: Layout, kept: State = None) -> State:
        return self.mixer.write(source, layout)

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        rows, tokens, width = x.shape
        layout = layout._replace(places=None, reach=None)  # they say who sees whom in the target
        sources = next(tensors(memory)).shape[0]
        if rows == sources:
            return self.mixer.read(x, layout, memory), None
        # The beams of a source ask the same memory, so their tokens can stand in one row: nothing is repeated.
        together = Layout(layout.positions.reshape(sources, -1))
        return self.mixer.read(x.reshape(sources, -1, width), together, memory).reshape(rows, tokens, width), None


class Inside(Sublayer):
    """The source is read within the recurrence: c_t with what the mixer knew before t, then the mixer takes x_t + c_t.

    y_t = mixer(x_t + c_t) + c_t, c_t = cross(mixer read at t - 1). With a GRU and additive attention this is
    Bahdanau et al. 2014, arXiv:1409.0473, sec. A.1.2, the matrices of x_t and c_t factored. Token by token always.
    """

    def __init__(self, mix: Mix, cross: Cross) -> None:
        super().__init__()
        self.mix, self.cross = mix, cross

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return self.mix.init_state(batch, max_len, device=device, dtype=dtype)

    def remember(self, source: Tensor, layout: Layout, kept: State = None) -> State:
        return self.mix.remember(source, layout, kept), self.cross.remember(source, layout)

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        begun, source = memory
        after, parts, mixer = self.mix.begin(x, layout, state, begun), list[Tensor](), self.mix.mixer
        for t in range(x.shape[1]):
            now = layout.slice(t, t + 1)
            then = now if self.mix.bridge is None else later(now)
            c, _ = self.cross(mixer.read(x[:, t : t + 1], then, after), now, None, source)
            y, after = mixer(x[:, t : t + 1] + c, then, after)
            parts.append(y + c)
        return torch.cat(parts, 1), None if state is None else after


def later(layout: Layout) -> Layout:
    """The same one position on, so that no token is the first: the source came before it."""
    reach = None if layout.reach is None else layout.reach + 1
    return layout._replace(positions=torch.where(layout.valid, layout.positions + 1, -1), reach=reach)


class Feed(Sublayer):
    """Each token alone."""

    def __init__(self, feedforward: nn.Module) -> None:
        super().__init__()
        self.feedforward, self.asks_valid = feedforward, getattr(feedforward, "asks_valid", False)

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        return self.feedforward(x, layout.valid) if self.asks_valid else self.feedforward(x), None


class Normed(Sublayer):
    """A sublayer with a norm of its own before it, where several stand side by side: GPT-NeoX."""

    takes_stream = True

    def __init__(self, norm: nn.Module, part: Sublayer) -> None:
        super().__init__()
        self.norm, self.part = norm, part

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return self.part.init_state(batch, max_len, device=device, dtype=dtype)

    def remember(self, source: Tensor, layout: Layout, kept: State = None) -> State:
        return self.part.remember(source, layout, kept)

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        return self.part(lowered(self.norm(x)), layout, state, memory)


class Sum(Sublayer):
    """Sublayers side by side on the same input, added: the parallel block of GPT-J."""

    def __init__(self, *parts: Sublayer) -> None:
        super().__init__()
        self.parts, self.takes_stream = nn.ModuleList(parts), any(part.takes_stream for part in parts)

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return tuple(part.init_state(batch, max_len, device=device, dtype=dtype) for part in self.parts)  # type: ignore[operator]

    def remember(self, source: Tensor, layout: Layout, kept: State = None) -> State:
        return tuple(part.remember(source, layout, kept) for part in self.parts)  # type: ignore[operator]

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        absent = (None,) * len(self.parts)
        results = [
            part(x, layout, s, m) for part, s, m in zip(self.parts, state or absent, memory or absent, strict=True)
        ]
        return torch.stack([y for y, _ in results]).sum(0), tuple(s for _, s in results)


def apply(part: Sublayer, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
    """A sublayer on x in the precision of its products."""
    return part(x if part.takes_stream else lowered(x), layout, state, memory)


def of(f: Function, x: Tensor) -> Function:
    """f of x, whatever it is called with."""
    return lambda _: f(x)


class Block(nn.Module):
    """Sublayers in order, each with its residual. beside: the last one reads what enters the block."""

    def __init__(self, parts: list[tuple[Residual, Sublayer]], beside: bool = False) -> None:
        super().__init__()
        self.beside = beside
        self.residuals = nn.ModuleList(residual for residual, _ in parts)
        self.parts = nn.ModuleList(part for _, part in parts)

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return tuple(part.init_state(batch, max_len, device=device, dtype=dtype) for part in self.parts)  # type: ignore[operator]

    def remember(self, source: Tensor, layout: Layout, kept: State = None) -> State:
        return tuple(part.remember(source, layout, kept) for part in self.parts)  # type: ignore[operator]

    def forward(
        self, stream: Stream, layout: Layout, state: State = None, memory: State = None
    ) -> tuple[Stream, State]:
        absent = (None,) * len(self.parts)
        after: list[State] = []
        entered = stream
        for residual, part, s, m in zip(self.residuals, self.parts, state or absent, memory or absent, strict=True):
            f = partial(apply, cast(Sublayer, part), layout=layout, state=s, memory=m)
            past = self.beside and len(after) == len(self.parts) - 1
            stream, s = residual(stream, of(f, entered) if past else f)
            after.append(s)
        return stream, tuple(after)
