"""The contract of normalisations, and those that every family uses.

Tested in tests/model/test_norms.py.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.config import Part
from transduce.errors import UserError
from transduce.model.init.init import Initialiser, constant
from transduce.model.ops.rms_norm import rms_norm
from transduce.model.roles import NORM, Roles


def accurate(x: Tensor) -> Tensor:
    """Returns x in float32, or in float64 if it is that: statistics are not taken in less."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def require_eps(eps: float, above: float = -1.0) -> None:
    """Raises UserError unless eps can stand beside a mean square: finite, not negative, and more than `above`."""
    if not (0.0 <= eps < math.inf and eps > above):
        raise UserError(f"eps={eps} must be a small positive number; use 1e-5, or leave it out")


@dataclass(frozen=True, kw_only=True)
class NormConfig(Part):
    """The choice of a normalisation; `build(width)` makes a module (..., M) -> (..., M)."""

    folder: ClassVar[str] = "transduce.model.norms"

    def build(self, width: int) -> nn.Module:
        raise AssertionError("a kind of NormConfig defines build")


@dataclass(frozen=True, kw_only=True)
class LayerNorm(NormConfig):
    """g (x - mean) / sqrt(var + eps) + b over the features, variance biased.   Ba et al. 2016, arXiv:1607.06450.

    eps: what is added to the variance.
    bias: whether there is b.
    gain: g is learned; without it, it is 1, and there is no b either.
    """

    kind: ClassVar[str] = "layer-norm"
    eps: float = 1e-5
    bias: bool = True
    gain: bool = True

    def __post_init__(self) -> None:
        require_eps(self.eps)

    def build(self, width: int) -> nn.Module:
        return nn.LayerNorm(width, eps=self.eps, elementwise_affine=self.gain, bias=self.bias)


class WholeRMSNorm(nn.RMSNorm):
    """torch.nn.RMSNorm, trained faster."""

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps or 0.0)


class OffsetRMSNorm(nn.Module):
    """(offset + w) x / sqrt(mean(x^2) + eps)."""

    def __init__(self, width: int, offset: float, eps: float) -> None:
        super().__init__()
        self.weight, self.offset, self.eps = nn.Parameter(torch.empty(width)), offset, eps

    def start(self) -> dict[str, Initialiser]:
        return {"weight": constant(1.0 - self.offset)}

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.offset + self.weight.to(torch.promote_types(self.weight.dtype, x.dtype)), self.eps)


class PartialRMSNorm(nn.Module):
    """g x / sqrt(mean(x_1^2 .. x_k^2) + eps): the mean is estimated from the first features."""

    roles: ClassVar[Roles] = NORM

    def __init__(self, width: int, first: int, eps: float) -> None:
        super().__init__()
        self.weight, self.first, self.eps = nn.Parameter(torch.empty(width)), first, eps

    def forward(self, x: Tensor) -> Tensor:
        h = accurate(x)
        square = h[..., : self.first].square().mean(-1, keepdim=True)
        return (self.weight * h * (square + self.eps).rsqrt()).to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class RMSNorm(NormConfig):
    """g x / sqrt(mean(x^2) + eps) over the features.   Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.

    eps: what is added to the mean of the squares.
    part: share of the features, the first ones, whose mean it is: pRMSNorm of the same paper.
    offset: g is offset + w, w what is trained (Gemma has 1); weight decay then draws the gain to the offset.
    """

    kind: ClassVar[str] = "rms-norm"
    eps: float = 1e-6
    part: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        require_eps(self.eps)
        if not 0 < self.part <= 1:
            raise UserError(f"part={self.part} is not a share of the features; use a number up to 1, such as 0.0625")

    def build(self, width: int) -> nn.Module:
        if self.offset:
            if self.part != 1.0:
                raise UserError(f"offset={self.offset} and part={self.part} do not go together; leave out one")
            return OffsetRMSNorm(width, self.offset, self.eps)
        if self.part == 1.0:
            return WholeRMSNorm(width, eps=self.eps)
        return PartialRMSNorm(width, math.ceil(width * self.part), self.eps)


@dataclass(frozen=True, kw_only=True)
class NoNorm(NormConfig):
    """x."""

    kind: ClassVar[str] = "none"

    def build(self, width: int) -> nn.Module:
        return nn.Identity()


def normed(norm: nn.Module, x: Tensor) -> Tensor:
    """Returns norm(x) in the precision of its weights, then in that of x: for norms in mixers, where x may be lower."""
    return norm(x.to(next((weight.dtype for weight in norm.parameters()), x.dtype))).to(x.dtype)
