"""Sublayers, all of one signature, and a block: a list of them, each joined to the stream by its residual."""

from abc import ABC, abstractmethod
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer
from transduce.model.ops.precision import lowered
from transduce.model.residual import Residual
from transduce.model.state import State


class Sublayer(nn.Module, ABC):
    """(x, layout, state, memory) -> (y, state).

    state: what it keeps between calls. memory: what it wrote of a source.
    """

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]: ...

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return None

    def remember(self, source: Tensor, layout: Layout) -> State:
        """What this sublayer reads of the source (B, N, M) at every step, written once."""
        return None


class Mix(Sublayer):
    """Causal: each token is written, then read."""

    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.mixer = mixer

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return self.mixer.init_state(batch, max_len, device=device, dtype=dtype)

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        return self.mixer(x, layout, state)


class Encode(Sublayer):
    """Every token sees the whole sequence."""

    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        return self.mixer.encode(x, layout), None


class Cross(Sublayer):
    """Every token reads what the mixer wrote of the source. x may have K rows for each row of the memory."""

    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.mixer = mixer

    def remember(self, source: Tensor, layout: Layout) -> State:
        return self.mixer.write(source, layout)

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        rows, tokens, width = x.shape
        sources = memory[0].shape[0]
        if rows == sources:
            return self.mixer.read(x, layout, memory), None
        # The beams of a source ask the same memory, so their tokens can stand in one row: nothing is repeated.
        together = Layout(layout.positions.reshape(sources, -1))
        return self.mixer.read(x.reshape(sources, -1, width), together, memory).view(rows, tokens, width), None


class Feed(Sublayer):
    """Each token alone."""

    def __init__(self, feedforward: nn.Module) -> None:
        super().__init__()
        self.feedforward = feedforward

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        return self.feedforward(x), None


class Sum(Sublayer):
    """Sublayers side by side on the same input, added: the parallel block of GPT-J."""

    def __init__(self, *parts: Sublayer) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return tuple(part.init_state(batch, max_len, device=device, dtype=dtype) for part in self.parts)  # type: ignore[operator]

    def remember(self, source: Tensor, layout: Layout) -> State:
        return tuple(part.remember(source, layout) for part in self.parts)  # type: ignore[operator]

    def forward(self, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
        absent = (None,) * len(self.parts)
        results = [
            part(x, layout, s, m) for part, s, m in zip(self.parts, state or absent, memory or absent, strict=True)
        ]
        return torch.stack([y for y, _ in results]).sum(0), tuple(s for _, s in results)


def apply(part: Sublayer, x: Tensor, layout: Layout, state: State, memory: State) -> tuple[Tensor, State]:
    """A sublayer on x in the precision of its products."""
    return part(lowered(x), layout, state, memory)


class Block(nn.Module):
    """Sublayers in order, each with its residual."""

    def __init__(self, parts: list[tuple[Residual, Sublayer]]) -> None:
        super().__init__()
        self.residuals = nn.ModuleList(residual for residual, _ in parts)
        self.parts = nn.ModuleList(part for _, part in parts)

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return tuple(part.init_state(batch, max_len, device=device, dtype=dtype) for part in self.parts)  # type: ignore[operator]

    def remember(self, source: Tensor, layout: Layout) -> State:
        return tuple(part.remember(source, layout) for part in self.parts)  # type: ignore[operator]

    def forward(
        self, stream: Tensor, layout: Layout, state: State = None, memory: State = None
    ) -> tuple[Tensor, State]:
        absent = (None,) * len(self.parts)
        after: list[State] = []
        for residual, part, s, m in zip(self.residuals, self.parts, state or absent, memory or absent, strict=True):
            stream, s = residual(stream, partial(apply, cast(Sublayer, part), layout=layout, state=s, memory=m))
            after.append(s)
        return stream, tuple(after)
