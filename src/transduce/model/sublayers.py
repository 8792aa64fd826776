"""The sublayers of blocks, all of one signature.

Tested in tests/model/test_block.py.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.block import Block, Sublayer
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer
from transduce.model.ops.precision import lowered
from transduce.model.state import State, choose, over, tensors
from transduce.model.trial import each, one_by_one, tried


@dataclass(frozen=True)
class Mix(Sublayer):
    """Causal: each token is written, then read.

    mixer: the name of the mixer.
    bridge: the name of the module that turns the state of the encoder's block of the same number into the state that
        the mixer goes on from (None: it begins with an empty state).
    """

    mixer: str = "mix"
    bridge: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.mixer,) if self.bridge is None else (self.mixer, self.bridge)

    def init_state(self, block: Block, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return block.mixer(self.mixer).init_state(batch, max_len, device=device, dtype=dtype)

    def remember(self, block: Block, source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return None if self.bridge is None else getattr(block, self.bridge)(encoder_state)

    def __call__(self, block: Block, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        mixer = block.mixer(self.mixer)
        require_obeyed(mixer, layout)
        if self.bridge is None:
            return mixer(x, layout, state) if state is None else step(mixer, x, layout, state)
        y, after = step(mixer, x, later(layout), self.begin(block, x, layout, state, memory))
        return y, None if state is None else after

    def begin(self, block: Block, x: Tensor, layout: Layout, state: State, memory: State) -> State:
        """Returns the state before x: where a sequence starts, that of the bridge, or an empty one without a bridge.

        A row that starts a sequence does so with all of it.
        """
        if self.bridge is None:
            mixer = block.mixer(self.mixer)
            parameter = next(mixer.parameters())
            empty = mixer.init_state(x.shape[0], x.shape[1], device=x.device, dtype=parameter.dtype)
        else:
            beams = x.shape[0] // next(tensors(memory)).shape[0]
            empty = over(memory, lambda s: s if beams == 1 else s.repeat_interleave(beams, 0))
        return empty if state is None else choose(layout.starts.any(1), empty, state)


def step(mixer: Mixer, x: Tensor, layout: Layout, state: State) -> tuple[Tensor, State]:
    """Returns the outputs of tokens (B, T, M) that are read with a state, one by one where they are tried."""
    if tried() and not mixer.at_once:
        return one_by_one(mixer, x, layout, state, mixer.rewinds)
    return mixer(x, layout, state)


def require_obeyed(mixer: Mixer, layout: Layout) -> None:
    """Raises UserError if a layout limits what tokens see, and a mixer does not obey it."""
    if layout.view is not None and not mixer.by_reach:
        raise UserError(
            f"{type(mixer).__name__} sees tokens in their order only, but the text has a prefix, blanks or an order of "
            f"its own; use mixer=attention"
        )


@dataclass(frozen=True)
class Encode(Sublayer):
    """Every token sees the whole sequence. keep: returns the state too, for a decoder that goes on from it."""

    mixer: str = "mix"
    keep: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.mixer,)

    def __call__(self, block: Block, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        mixer = block.mixer(self.mixer)
        require_obeyed(mixer, layout)
        return mixer.encode_and_write(x, layout) if self.keep else (mixer.encode(x, layout), None)


@dataclass(frozen=True)
class Cross(Sublayer):
    """Every token reads the memory of a source. x may have K rows for each row of the memory."""

    mixer: str = "cross"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.mixer,)

    @property
    def sources(self) -> tuple[str, ...]:
        return self.names

    def remember(self, block: Block, source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return block.mixer(self.mixer).write(source, layout)

    def __call__(self, block: Block, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        mixer, (rows, tokens, width) = block.mixer(self.mixer), x.shape
        layout = layout._replace(view=None)  # which is about the tokens of the target
        sources = next(tensors(memory)).shape[0]
        if rows == sources:
            if tokens > 1 and not mixer.at_once and tried():
                return each(lambda x, now: mixer.read(x, now, memory), x, layout), None
            return mixer.read(x, layout, memory), None
        # The beams of a source read the same memory, so their tokens are put in one row, and no memory is repeated.
        together = Layout(layout.positions.reshape(sources, -1))
        return mixer.read(x.reshape(sources, -1, width), together, memory).reshape(rows, tokens, width), None


@dataclass(frozen=True)
class Inside(Sublayer):
    """The source is read within the recurrence: c_t with the state before t, then the mixer takes x_t + c_t.

    y_t = mixer(x_t + c_t) + c_t, c_t = cross(mixer read at t - 1). With a GRU and additive attention this is
    Bahdanau et al. 2014, arXiv:1409.0473, sec. A.1.2, the matrices of x_t and c_t factored. It runs token by token.
    """

    mix: Mix
    cross: Cross

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.mix.names, *self.cross.names)

    @property
    def inner(self) -> tuple[Sublayer, ...]:
        return self.mix, self.cross

    def init_state(self, block: Block, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return self.mix.init_state(block, batch, max_len, device=device, dtype=dtype)

    def remember(self, block: Block, source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return self.mix.remember(block, source, layout, encoder_state), self.cross.remember(block, source, layout)

    def __call__(self, block: Block, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        first, source = memory
        mixer = block.mixer(self.mix.mixer)

        def through(x: Tensor, now: Layout, before: State) -> tuple[Tensor, State]:
            then = now if self.mix.bridge is None else later(now)
            c, _ = self.cross(block, mixer.read(x, then, before), now, None, source)
            y, after = mixer(x + c, then, before)
            return y + c, after

        rewinds = mixer.rewinds or state is None or not tried()
        y, after = one_by_one(through, x, layout, self.mix.begin(block, x, layout, state, first), rewinds)
        return y, None if state is None else after


def later(layout: Layout) -> Layout:
    """Returns the layout one position further on, so that no token is the first: the source came before it."""
    reach = None if layout.reach is None else layout.reach + 1
    start = None if layout.start is None else layout.start + 1
    positions = torch.where(layout.valid, layout.positions + 1, -1)
    return layout._replace(positions=positions, start=start).seen(layout.places, reach)


@dataclass(frozen=True)
class Feed(Sublayer):
    """Each token goes through a feed-forward on its own."""

    feedforward: str = "feed"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.feedforward,)

    def __call__(self, block: Block, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        feedforward: Any = getattr(block, self.feedforward)
        if not getattr(feedforward, "asks_valid", False):
            return feedforward(x), None
        if tried():  # tokens at once may get in each other's way
            return each(lambda x, now: feedforward(x, now.valid), x, layout), None
        return feedforward(x, layout.valid), None


@dataclass(frozen=True)
class Normed(Sublayer):
    """A sublayer after a norm of its own, for several sublayers side by side, as in GPT-NeoX."""

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

    def init_state(self, block: Block, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return self.part.init_state(block, batch, max_len, device=device, dtype=dtype)

    def remember(self, block: Block, source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return self.part.remember(block, source, layout, encoder_state)

    def __call__(self, block: Block, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        return self.part(block, lowered(getattr(block, self.norm)(x)), layout, state, memory)


@dataclass(frozen=True)
class Sum(Sublayer):
    """The sum of sublayers side by side on the same input: the parallel block of GPT-J."""

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

    def init_state(self, block: Block, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return tuple(part.init_state(block, batch, max_len, device=device, dtype=dtype) for part in self.parts)

    def remember(self, block: Block, source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        return tuple(part.remember(block, source, layout, encoder_state) for part in self.parts)

    def __call__(self, block: Block, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        absent = (None,) * len(self.parts)
        results = [
            part(block, x, layout, s, m)
            for part, s, m in zip(self.parts, state or absent, memory or absent, strict=True)
        ]
        return torch.stack([y for y, _ in results]).sum(0), tuple(s for _, s in results)
