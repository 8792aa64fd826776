"""A list of all tokens, looked up by weights that a mixer computes itself: additive attention and its kin.

Tested in tests/model/test_laws.py.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.cache import Cache, Fields, Memory, Recall, Seen
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer
from transduce.model.ops.dropout import dropout
from transduce.model.ops.rows import product


class Lookup(Mixer):
    """Each token writes `fields`; `answer` is what a token makes of those it sees, `weights` how much each counts."""

    by_document: ClassVar[bool] = True
    recall: ClassVar[Recall] = Recall()
    rewinds = True

    @abstractmethod
    def shapes(self) -> list[tuple[int, ...]]:
        """Returns the shapes of the fields of one token."""

    @abstractmethod
    def fields(self, x: Tensor, layout: Layout) -> Fields:
        """Returns what tokens write."""

    @abstractmethod
    def weights(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        """Returns (B, H, T, N): the weight that each token gives to each of those it sees, zero on the others."""

    @abstractmethod
    def answer(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        """Returns (B, T, M) of what tokens see."""

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> Cache:
        return self.recall.empty(batch, max_len, self.shapes(), device, dtype)

    def forward(self, x: Tensor, layout: Layout, state: Cache | None = None) -> tuple[Tensor, Cache | None]:
        seen, state = self.recall.forward(self.fields(x, layout), layout, state)
        return self.answer(x, layout, seen), state

    def write(self, x: Tensor, layout: Layout, state: Cache | None = None) -> Memory | Cache:
        return self.recall.write(self.fields(x, layout), layout, state)

    def read(self, x: Tensor, layout: Layout, state: Memory | Cache) -> Tensor:
        return self.answer(x, layout, self.recall.read(layout, state))


def mask_of(seen: Seen) -> Tensor | None:
    """Returns (B or 1, 1, T or 1, N) bool, written out where the order of slots says it (None: all is seen)."""
    if not seen.causal:
        return seen.mask
    tokens = seen.positions.shape[1]
    return torch.ones(1, 1, tokens, tokens, dtype=torch.bool, device=seen.positions.device).tril()


def mean(weights: Tensor, v: Tensor, p: float) -> Tensor:
    """sum_j weights_ij v_j: (B, H, T, N), (B, N, H, E) -> (B, T, H * E). p: dropout of the weights."""
    weights = dropout(weights, p, training=True).to(v.dtype)
    return product(weights, v.transpose(1, 2)).transpose(1, 2).flatten(2)


def head_size(heads: int, width: int) -> int:
    """Returns features of a head. Raises UserError unless the heads divide the width."""
    if width % heads:
        fit = min((h for h in range(1, width + 1) if width % h == 0), key=lambda h: (abs(h - heads), h))
        raise UserError(f"heads={heads} does not divide width={width}; try heads={fit}")
    return width // heads
