"""Feature maps phi: phi(q) . phi(k) stands for the kernel that attention would compare queries and keys with."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError

Feature = Literal["elu", "relu", "dpfp", "favor", "identity"]


def elu(x: Tensor) -> Tensor:
    """elu(x) + 1 > 0.   Katharopoulos et al. 2020, arXiv:2006.16236."""
    return F.elu(x) + 1


def dpfp(x: Tensor, nu: int = 1) -> Tensor:
    """y_i y_{i-j} for j = 1..nu, where y = [relu(x), relu(-x)], modulo 2D.   Schlag et al. 2021, arXiv:2102.11174.

    (..., D) -> (..., 2 D nu). Nothing is negative, and vectors of opposite orthants are orthogonal.
    """
    y = torch.cat([F.relu(x), F.relu(-x)], -1)
    return torch.cat([y * y.roll(j, -1) for j in range(1, nu + 1)], -1)


class Favor(nn.Module):
    """exp(w_i . x - |x|^2 / 2) / sqrt(n) with x / D^(1/4) in place of x.   Choromanski et al. 2020, arXiv:2009.14794.

    E[phi(q) . phi(k)] = exp(q . k / sqrt(D)), the kernel of attention. Rows w of (n, D) are orthogonal in blocks of D,
    and as long as normal vectors; they are drawn once and kept in checkpoints. No maximum is subtracted, since none is
    known token by token; none is needed, as the exponent is at most |w_i|^2 / 2.
    """

    projection: Tensor

    def __init__(self, head_dim: int, features: int, seed: int) -> None:
        super().__init__()
        self.register_buffer("projection", orthogonal_normal(features, head_dim, seed))

    def forward(self, x: Tensor) -> Tensor:
        x = x * x.shape[-1] ** -0.25
        w = self.projection.to(x.dtype)
        return (x @ w.mT - x.square().sum(-1, keepdim=True) / 2).exp() * w.shape[0] ** -0.5


def orthogonal_normal(rows: int, dim: int, seed: int) -> Tensor:
    """Returns (rows, dim): every row is N(0, 1), every block of `dim` rows is orthogonal."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [torch.empty(dim, dim, dtype=torch.float64) for _ in range(-(-rows // dim))]
    directions = torch.cat([nn.init.orthogonal_(block, generator=generator) for block in blocks])[:rows]
    lengths = torch.randn(rows, dim, generator=generator, dtype=torch.float64).square().sum(-1, keepdim=True).sqrt()
    return (directions * lengths).float()


def sum_normalised(x: Tensor) -> Tensor:
    """x / (sum of x + 1e-6), for features none of which is negative.   Schlag et al. 2021, arXiv:2102.11174."""
    return x / (x.sum(-1, keepdim=True) + 1e-6)


def feature_map(
    name: Feature, head_dim: int, nu: int = 1, features: int | None = None, seed: int = 0
) -> tuple[Callable[[Tensor], Tensor], int]:
    """Returns phi, and how many features it makes of `head_dim` numbers.

    nu: of dpfp. features, seed: of favor; None: D ln D of them, which Choromanski et al. 2020 advise.
    """
    match name:
        case "elu":
            return elu, head_dim
        case "relu":
            return F.relu, head_dim
        case "dpfp":
            return partial(dpfp, nu=nu), 2 * head_dim * nu
        case "favor":
            count = features or max(1, round(head_dim * math.log(head_dim)))
            return Favor(head_dim, count, seed), count
        case "identity":
            return nn.Identity(), head_dim


def require_nu(nu: int, size: int) -> None:
    """Raises UserError unless dpfp has that many products: y_i y_{i-j} is y_i y_{i+2D-j}."""
    if not 1 <= nu < 2 * size:
        raise UserError(f"nu={nu} must be from 1 to {2 * size - 1}, one below twice the size of a head ({size})")
