"""Adapters of low rank for the direction of each row, with a length of its own.

Tested in tests/tune/test_adapters.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.model.roles import Roles
from transduce.tune.adapters import AdapterConfig
from transduce.tune.lora import LowRank


@dataclass(frozen=True, kw_only=True)
class DoRA(AdapterConfig):
    """m (W + (alpha / r) B A) / |W + (alpha / r) B A|, row by row, where m, B and A move.

    Liu et al. 2024, arXiv:2402.09353. The norm gets no gradient (sec. 4.3).
    """

    kind: ClassVar[str] = "dora"

    def adapter(self, weight: Tensor, generator: torch.Generator) -> nn.Module:
        return Directed(weight, self.rank, self.scale, generator)


class Directed(nn.Module):
    """W (out, in) -> the rows of W + scale B A with the lengths m (out,), which start as those of W."""

    roles: ClassVar[Roles] = {"m": "gain"}

    def __init__(self, weight: Tensor, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.low = LowRank(weight, rank, scale, generator)
        self.m = nn.Parameter(lengths(weight.detach()))

    def forward(self, W: Tensor) -> Tensor:
        moved: Tensor = self.low(W)
        return moved * (self.m / lengths(moved.detach()))[:, None]


def lengths(W: Tensor) -> Tensor:
    """Returns the norm of every row, never 0."""
    return W.square().sum(1).sqrt().clamp_min(torch.finfo(W.dtype).tiny)
