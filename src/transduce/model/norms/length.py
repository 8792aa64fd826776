"""Normalisation by length, with one gain.

Tested in tests/model/test_norms.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.model.init.init import Initialiser, constant
from transduce.model.norms.norm import NormConfig, accurate, require_eps


class ScaleNorm(nn.Module):
    """g x / |x|, one g for all features."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.gain, self.width, self.eps = nn.Parameter(torch.empty(())), width, eps

    def start(self) -> dict[str, Initialiser]:
        return {"gain": constant(self.width**0.5)}

    def forward(self, x: Tensor) -> Tensor:
        h = accurate(x)
        square = h.square().sum(-1, keepdim=True).clamp(min=self.eps**2)
        return (self.gain * h * square.rsqrt()).to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class ScaleNormConfig(NormConfig):
    """g x / max(|x|, eps), g one number, which starts at sqrt(width).   Nguyen & Salazar 2019, arXiv:1910.05895.

    eps: the least length that is divided by.
    """

    kind: ClassVar[str] = "scale-norm"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        require_eps(self.eps)

    def build(self, width: int) -> nn.Module:
        return ScaleNorm(width, self.eps)
