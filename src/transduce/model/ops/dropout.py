"""Dropout at the speed of memory."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 1 << 16  # a keep decision takes 16 random bits, so p is met to 1/65536


def keep_mask(like: Tensor, p: float) -> Tensor:
    """Returns a bool tensor of like's shape, True with probability 1 - p, drawn from the default CPU generator.

    Four decisions from each 64-bit draw: on a CPU `F.dropout`, which draws and converts one float per element, costs as
    much as the matrix product beside it.
    """
    draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    bits = draws.view(torch.int16)[: like.numel()].view(like.shape)
    return bits >= round(p * STEPS) - STEPS // 2


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        keep = keep_mask(x, p)
        ctx.save_for_backward(keep)
        ctx.scale = 1.0 / (1.0 - p)
        return (x * ctx.scale).mul_(keep)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return (gradients[0] * ctx.scale).mul_(keep), None


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """x / (1 - p) where kept, 0 with probability p.   Srivastava et al. 2014.   Identity unless training."""
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p)  # there the generator is fast, or fused
    return _Dropout.apply(x.contiguous(), p)  # type: ignore[no-any-return]
