"""The contract of normalisations, and the two that every family uses."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from transduce.config import Part


@dataclass(frozen=True, kw_only=True)
class NormConfig(Part):
    """Which normalisation; `build(width)` makes a module (..., M) -> (..., M)."""

    folder: ClassVar[str] = "transduce.model.norms"

    def build(self, width: int) -> nn.Module:
        raise AssertionError("a kind of NormConfig defines build")


@dataclass(frozen=True, kw_only=True)
class LayerNorm(NormConfig):
    """g (x - mean) / sqrt(var + eps) + b over the features, variance biased.   Ba et al. 2016, arXiv:1607.06450."""

    kind: ClassVar[str] = "layer-norm"
    eps: float = 1e-5
    bias: bool = True

    def build(self, width: int) -> nn.Module:
        return nn.LayerNorm(width, eps=self.eps, bias=self.bias)


@dataclass(frozen=True, kw_only=True)
class RMSNorm(NormConfig):
    """g x / sqrt(mean(x^2) + eps) over the features.   Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4."""

    kind: ClassVar[str] = "rms-norm"
    eps: float = 1e-6

    def build(self, width: int) -> nn.Module:
        return nn.RMSNorm(width, eps=self.eps)
