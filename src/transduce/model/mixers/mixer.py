"""The contract of mixers: a memory that is written and read.

A mixer is the only part that moves information between positions. Its role is the method that is called: `forward` in
a decoder, `encode` in an encoder, `write` once and `read` at each step between the two.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.config import Part
from transduce.model.layout import Layout
from transduce.model.positions.position import Positions
from transduce.model.state import State


class Mixer(nn.Module, ABC):
    """A memory. Every method takes x: (B, T, M) and its layout; see `testing.laws` for what must hold.

    tp_plan: projection -> "columns" or "rows", how the weights are split over ranks. cannot: method -> the reason a
    mixer does not have it; calling it raises that sentence as a UserError.
    """

    tp_plan: ClassVar[dict[str, str]] = {}
    cannot: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        """An empty memory for `batch` rows of up to `max_len` tokens."""

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout, state: State = None) -> tuple[Tensor, State]:
        """Causal: write each token, then read it. Returns (B, T, M) and the state, None if none was given."""

    @abstractmethod
    def write(self, x: Tensor, layout: Layout, state: State = None) -> State:
        """Take a sequence in, read nothing."""

    @abstractmethod
    def read(self, x: Tensor, layout: Layout, state: State) -> Tensor:
        """Ask what was written, write nothing. Every token sees the whole memory. Returns (B, T, M)."""

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        """Every token sees the whole sequence."""
        return self.read(x, layout, self.write(x, layout))


@dataclass(frozen=True, kw_only=True)
class MixerConfig(Part):
    """Which mixer. `build(width, positions)` makes one; positions act inside mixers that have queries and keys."""

    folder: ClassVar[str] = "transduce.model.mixers"

    def build(self, width: int, positions: Positions) -> Mixer:
        raise AssertionError("a kind of MixerConfig defines build")

    def for_source(self) -> "MixerConfig":
        """This mixer for reading a source, whose positions are not those of the target."""
        return self

    @classmethod
    def examples(cls) -> "list[MixerConfig]":
        """Small configurations, for a width of 16, on which `testing.laws` runs every law."""
        return [cls()]

    def head_dim(self, width: int) -> int:
        """Features of a query, for the positions applied to them."""
        return width
