"""The contract of mixers: a memory that is written and read.

A mixer is the only part that moves information between positions. Its role is the method that is called: `forward` in
a decoder, `encode` in an encoder, `write` once and `read` at each step between the two.

Tested in tests/model/test_laws.py.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.config import Part
from transduce.model.layout import Layout, documents
from transduce.model.positions.position import Positions, Queries
from transduce.model.state import State


class Mixer(nn.Module, ABC):
    """A memory. Every method takes x: (B, T, M) and its layout; see `testing.laws` for what must hold.

    tp_plan: projection -> "columns" or "rows", how the weights are split over ranks. no_plan: why there is none.
    cannot: method -> the reason a mixer does not have it; calling it raises that sentence as a UserError. by_document:
    what `write` returns keeps the documents of a packed row apart by itself, and `read` finds them by the segments of
    the layout. by_reach: it heeds the places and the reach of the layout. multiplied: names of the linear maps whose
    matrices it multiplies by itself instead of calling them; they stay as they are where a model is read in fewer bits.
    rewinds: its state after some tokens serves as that after fewer of them. at_once: besides, inside of `rows_alike`,
    a few tokens read at once get what each gets alone, to the bit.
    """

    tp_plan: ClassVar[dict[str, str]] = {}
    no_plan: str = ""
    cannot: ClassVar[dict[str, str]] = {}
    by_document: ClassVar[bool] = False
    by_reach: ClassVar[bool] = False
    multiplied: ClassVar[tuple[str, ...]] = ()
    rewinds: bool = False
    at_once: bool = False

    @abstractmethod
    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        """Returns an empty memory for `batch` rows of up to `max_len` tokens."""

    @abstractmethod
    def forward(self, x: Tensor, layout: Layout, state: State = None) -> tuple[Tensor, State]:
        """Writes each token, then reads it (causal). Returns (B, T, M) and the state, None if none was given."""

    @abstractmethod
    def write(self, x: Tensor, layout: Layout, state: State = None) -> State:
        """Takes a sequence in, reads nothing. In a row of several documents the last one is what remains."""

    @abstractmethod
    def read(self, x: Tensor, layout: Layout, state: State) -> Tensor:
        """Asks what was written, writes nothing. Every token sees the whole memory. Returns (B, T, M)."""

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        """Lets every token see the whole sequence."""
        if layout.segments is None or self.by_document:
            return self.read(x, layout, self.write(x, layout))
        each = documents(layout)
        alone = each.split(x)
        return each.join(self.read(alone, each.layout, self.write(alone, each.layout)))

    def encode_and_write(self, x: Tensor, layout: Layout) -> tuple[Tensor, State]:
        """Returns what `encode` does, and the memory, for a decoder that goes on from it. Wrappers that read a
        sequence in an order of their own override it."""
        return self.encode(x, layout), self.write(x, layout)


@dataclass(frozen=True, kw_only=True)
class MixerConfig(Part):
    """The choice of a mixer. `build(width, positions)` makes one.

    A class says which encodings of positions act inside it (`positions`): "turn" (its queries and keys), "bias" (its
    scores), "table" (vectors that it maps itself); and whether there is no mixer, so that the block has no sublayer for
    it (`absent`); and whether it reads from the first token to the last, so that an encoder has one in each direction
    (`in_order`).
    """

    folder: ClassVar[str] = "transduce.model.mixers"
    positions: ClassVar[frozenset[str]] = frozenset()
    absent: ClassVar[bool] = False
    in_order: ClassVar[bool] = False

    def build(self, width: int, positions: Positions) -> Mixer:
        raise AssertionError("a kind of MixerConfig defines build")

    def for_source(self) -> "MixerConfig":
        """Returns this mixer for reading a source, whose positions are not those of the target."""
        return self

    def queries(self, width: int) -> Queries | None:
        """Returns the queries that positions act on (None: the mixer has none).

        Raises UserError if they do not fit the width.
        """
        return None

    @classmethod
    def examples(cls) -> "list[MixerConfig]":
        """Returns small configurations, for a width of 16, on which `testing.laws` runs every law."""
        return [cls()]


@dataclass(frozen=True, kw_only=True)
class NoMixerConfig(MixerConfig):
    """None: a layer without mixer, or a decoder that reads no source but goes on from the encoder's last state."""

    kind: ClassVar[str] = "none"
    absent: ClassVar[bool] = True
