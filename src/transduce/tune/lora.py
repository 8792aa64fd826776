"""Adapters of low rank.

Tested in tests/tune/test_adapters.py.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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

    def product(self, x: Tensor, W: Tensor, bias: Tensor | None) -> Tensor:
        """Returns x W^T + bias for W, what `forward` gives: the same bits, and gradients without that of all of W."""
        return cast(
            Tensor,
            _Product.apply(x, W.detach(), bias, self.A, self.B, self.scale),  # pyright: ignore[reportUnknownMemberType]
        )


class _Product(torch.autograd.Function):
    """y = x W^T + bias for W = V + s B A with V that does not move: dA = s (dy B)^T x and dB = s dy^T (x A^T)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, scale: float) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):  # as of F.linear, but x is kept as it enters the product
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(x, weight, A, B)
        ctx.scale = scale
        return F.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (dy,), (x, weight, A, B) = grads, ctx.saved_tensors
        rows, wanted = dy.reshape(-1, dy.shape[-1]), ctx.needs_input_grad
        flat, a, b = x.reshape(-1, x.shape[-1]), A.to(dy.dtype), B.to(dy.dtype)
        dx = (rows @ weight).view(x.shape) if wanted[0] else None
        dbias = rows.sum(0) if wanted[2] else None
        dA = ((rows @ b).mT @ flat).to(A.dtype) * ctx.scale if wanted[3] else None
        dB = (rows.mT @ (flat @ a.mT)).to(B.dtype) * ctx.scale if wanted[4] else None
        return dx, None, dbias, dA, dB, None
