"""Scaled dot-product attention as a pure function."""

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.model.ops.dropout import dropout

SMALL = 1 << 24  # attention weights that may be held at once on a CPU


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, causal: bool = False, p: float = 0.0
) -> Tensor:
    """softmax(q k^T / sqrt(D)) v, head by head; G key heads each serve H/G query heads.   Vaswani et al. 2017, eq. 1.

    q: (B, T, H, D), k: (B, N, G, D), v: (B, N, G, E), mask: bool, broadcastable to (B, H, T, N), True = sees; a
    query that sees no key gets zeros. causal: slot t sees slots 0..t (then mask must be None). p: dropout of the
    weights. Returns (B, T, H * E).
    """
    repeat = q.shape[2] // k.shape[2]
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if direct(q, k, p):
        k, v = (x if repeat == 1 else x.repeat_interleave(repeat, 1) for x in (k, v))
        if causal:
            mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
        scores = (q * q.shape[-1] ** -0.5) @ k.mT
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        y = dropout(scores.softmax(-1), p, training=True) @ v
        if mask is not None and not (seen := mask.any(-1, keepdim=True)).all():
            y = y.masked_fill(~seen, 0.0)
    else:
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=p, is_causal=causal, enable_gqa=repeat > 1)
    return y.transpose(1, 2).flatten(2)


def direct(q: Tensor, k: Tensor, p: float) -> bool:
    """Whether the formula written out is faster than the fused kernel.

    On a CPU it is, in training, while the weights fit: the backward pass of the fused kernel is several times
    slower in bfloat16, and with dropout there is no fused kernel. In float32 it is so for short sequences only.
    """
    if q.device.type != "cpu" or torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return False
    weights = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
    return weights <= SMALL and (q.dtype == torch.bfloat16 or p > 0.0 or k.shape[2] <= 64)
