"""RMSNorm with a backward pass of few passes over memory: the one of PyTorch is made of elementary steps on a CPU."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """g x / sqrt(mean(x^2) + eps) over the features.   Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.

    x: (..., M), weight: (M,), both float32 or both float64 where the gradient is to be fast.
    """
    plain = x.device.type != "cpu" or x.dtype != weight.dtype or torch.compiler.is_compiling()
    if plain or not torch.is_grad_enabled() or not x.is_floating_point() or x.dtype.itemsize < 4:
        return F.rms_norm(x, weight.shape, weight, eps)
    return cast(Tensor, _RMSNorm.apply(x, weight, eps))  # pyright: ignore[reportUnknownMemberType]


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return F.rms_norm(x, weight.shape, weight, eps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        """With r = 1 / rms(x) and s = sum_i g_i dy_i x_i of a row: dx = r (g dy - x r^2 s / M), dg = sum r dy x.

        r is computed anew, from x, so that this can be differentiated once more.
        """
        (dy,), (x, weight) = grads, ctx.saved_tensors
        width = x.shape[-1]
        length = cast(Tensor, torch.linalg.vector_norm(x, dim=-1, keepdim=True))
        r = (length.square() / width + ctx.eps).rsqrt()
        both = (dy * x).reshape(-1, width)
        s = (both @ weight).view_as(r)
        dx = (dy * weight).addcmul_(x, r.square() * s, value=-1 / width).mul_(r)
        return dx, r.reshape(-1) @ both, None
