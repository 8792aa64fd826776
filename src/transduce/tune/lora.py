"""Adapters of low rank.

Tested in tests/tune/test_adapters.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.model.roles import Roles
from transduce.tune.adapters import AdapterConfig


@dataclass(frozen=True, kw_only=True)
class LoRA(AdapterConfig):
    """W + (alpha / r) B A, of which B and A alone move.   Hu et al. 2021, arXiv:2106.09685, sec. 4.1."""

    kind: ClassVar[str] = "lora"

    def adapter(self, weight: Tensor, generator: torch.Generator) -> nn.Module:
        return LowRank(weight, self.rank, self.scale, generator)


class LowRank(nn.Module):
    """W (out, in) -> W + scale B A. B starts at 0, so W is used as it is before the first update."""

    roles: ClassVar[Roles] = {"A": "matrix", "B": "matrix"}

    def __init__(self, weight: Tensor, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        (out, size), self.scale = weight.shape, scale
        drawn = torch.randn(rank, size, generator=generator) / size**0.5
        self.A = nn.Parameter(drawn.to(weight))
        self.B = nn.Parameter(weight.new_zeros(out, rank))

    def forward(self, W: Tensor) -> Tensor:
        return torch.addmm(W, self.B, self.A, alpha=self.scale)
