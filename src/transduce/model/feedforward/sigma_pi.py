"""Units that add up products of their inputs.

Tested in tests/model/test_feedforward.py.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least, require_at_most
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.roles import Roles

MOST = 1 << 28  # weights of a layer


def products(*inputs: Tensor) -> Tensor:
    """Returns every product of one feature of each input: (..., J), (..., K), ... -> (..., J K ...)."""
    y, *others = inputs
    for x in others:
        y = (y[..., None] * x[..., None, :]).flatten(-2)
    return y


class SigmaPi(nn.Module):
    """y_i = sum_{j k ...} w_ijk... a_j b_k ...: one input of each size. With two it is torch.nn.Bilinear."""

    def __init__(self, *sizes: int, out: int, bias: bool = True) -> None:
        super().__init__()
        self.sum = nn.Linear(math.prod(sizes), out, bias=bias)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.sum(products(*inputs))


class Products(nn.Module):
    """down of all products of 1..order features of x."""

    roles: ClassVar[Roles] = {"down.weight": "writes"}

    def __init__(self, width: int, order: int, bias: bool) -> None:
        super().__init__()
        self.order, self.down = order, nn.Linear(sum(width**k for k in range(1, order + 1)), width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        powers = [x]
        while len(powers) < self.order:
            powers.append(products(powers[-1], x))
        return self.down(torch.cat(powers, -1))


class FewProducts(nn.Module):
    """down of `rank` products of k linear maps of x, for each k in 1..order."""

    def __init__(self, width: int, order: int, rank: int, bias: bool) -> None:
        super().__init__()
        self.sizes = [k * rank for k in range(1, order + 1)]
        self.up = nn.Linear(width, sum(self.sizes), bias=False)
        self.rank, self.down = rank, nn.Linear(order * rank, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        factors = self.up(x).split(self.sizes, -1)
        return self.down(torch.cat([f.unflatten(-1, (-1, self.rank)).prod(-2) for f in factors], -1))


@dataclass(frozen=True, kw_only=True)
class SigmaPiConfig(FeedForwardConfig):
    """y_i = sum_j w_ij prod_{k in S_j} x_k, S_j of 1 to `order` features.   Rumelhart, Hinton & McClelland 1986, PDP 1.

    order: most factors of a product.
    rank: products of linear maps for each number of factors, which cost 2 width rank more for each factor (None: every
        product there is, width^order of them).
    bias: whether the sum has one.
    """

    kind: ClassVar[str] = "sigma-pi"
    order: int = 2
    rank: int | None = None
    bias: bool = True

    def __post_init__(self) -> None:
        require_at_least(1, order=self.order, rank=self.rank)
        require_at_most(32, order=self.order)

    def build(self, width: int) -> nn.Module:
        if self.rank is not None:
            return FewProducts(width, self.order, self.rank, self.bias)
        if (count := width ** (self.order + 1)) > MOST:
            raise UserError(
                f"order={self.order} on a width of {width} has {count:,} weights; give feedforward.rank={width}"
            )
        return Products(width, self.order, self.bias)
