"""Scaled dot-product attention as a pure function.

Tested in tests/model/mixers/test_attention.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.model.ops.dropout import dropout
from transduce.model.ops.rows import FEW, alike

SMALL = 1 << 24  # attention weights that may be held at once on a CPU
SHORT, SHORT_ALONE = 512, 128  # keys up to which bfloat16 is faster written out, with a gradient and without


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    p: float = 0.0,
    bias: Tensor | None = None,
    scale: float | None = None,
    softcap: float | None = None,
) -> Tensor:
    """softmax(q k^T / sqrt(D) + bias) v, head by head; G key heads each serve H/G.   Vaswani et al. 2017, eq. 1.

    q: (B, T, H, D).
    k: (B, N, G, D).
    v: (B, N, G, E).
    mask: bool, broadcastable to (B, H, T, N), True = sees; a query that sees no key gets zeros.
    causal: slot t sees slots 0..t; mask must then be None.
    p: dropout of the weights.
    bias: (B or 1, H, T, N), finite.
    scale: of the scores (None: 1 / sqrt(D)).
    softcap: scaled scores s become softcap tanh(s / softcap) before the bias (Gemma 2, arXiv:2408.00118).
    Returns (B, T, H * E).
    """
    repeat, tokens = q.shape[2] // k.shape[2], q.shape[1]
    if 1 < tokens < FEW and not causal and bias is None and alike(q):
        alone = q.transpose(1, 2).flatten(1, 2)[:, None]  # (B, 1, H * T, D): each query as a head of its own
        if mask is not None and mask.shape[-2] > 1:
            mask = mask.expand(-1, q.shape[2], -1, -1).flatten(1, 2)[:, :, None]
        y = attend(alone, k, v, mask, p=p, scale=scale, softcap=softcap)
        return y.view(q.shape[0], q.shape[2], tokens, -1).transpose(1, 2).flatten(2)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    written_out = softcap is not None or direct(q, k, p, bias)
    if causal and (written_out or bias is not None):
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    if bias is not None and mask is not None:  # the lowest number, since all of a row at -inf would give NaN
        bias = bias.to(torch.promote_types(bias.dtype, q.dtype)).masked_fill(~mask, torch.finfo(q.dtype).min)
    if written_out:
        k, v = (x if repeat == 1 else x.repeat_interleave(repeat, 1) for x in (k, v))
        scores = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.mT
        if softcap is not None:
            scores = softcap * (scores / softcap).tanh()
        if bias is not None:
            scores = scores + bias.to(scores.dtype)
        elif mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        y = dropout(softmax(scores), p, training=True) @ v
        y = y if mask is None else blank(y, mask)
    elif bias is not None:
        bias = bias.to(q.dtype).expand(q.shape[0], -1, -1, -1)
        y = F.scaled_dot_product_attention(q, k, v, bias, dropout_p=p, scale=scale, enable_gqa=repeat > 1)
        y = y if mask is None else blank(y, mask)
    else:
        gqa = repeat > 1
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=p, is_causal=causal, scale=scale, enable_gqa=gqa)
    return y.transpose(1, 2).flatten(2)


def softmax(scores: Tensor) -> Tensor:
    """Returns the softmax over the last axis.

    Without a gradient, rows of less than 32 bfloat16 scores on a CPU are computed in float32 and padded to 16: a row
    that does not fill a vector of the processor is computed number by number, which takes twice as long.
    """
    keys = scores.shape[-1]
    if torch.is_grad_enabled() or scores.device.type != "cpu" or scores.dtype != torch.bfloat16 or keys >= 32:
        return scores.softmax(-1)
    wide = F.pad(scores.float(), (0, max(0, 16 - keys)), value=-torch.inf)
    return wide.softmax(-1)[..., :keys].to(scores.dtype)


def blank(y: Tensor, mask: Tensor) -> Tensor:
    """Returns y (B, H, T, E) with zeros for queries that see no key.

    On a CPU y is returned as it is where every query sees a key; on a GPU such a check would wait for the device.
    """
    seen = mask.any(-1, keepdim=True)
    ask = y.device.type == "cpu" and not torch.compiler.is_compiling()
    return y if ask and seen.all() else y.masked_fill(~seen, 0.0)


def direct(q: Tensor, k: Tensor, p: float, bias: Tensor | None) -> bool:
    """Says whether the written-out formula is faster than the fused kernel. `benchmarks/attention.py` measures both.

    On a CPU it is faster, as long as the attention weights fit `SMALL`, in three cases: in training with dropout, for
    which no fused kernel exists; in training in bfloat16, as the kernel's backward pass is slower up to `SHORT` keys;
    and without a gradient in bfloat16, for short sequences. In float32 without dropout the kernel is always faster.
    """
    if q.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    keys, weights = k.shape[2], q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
    if not torch.is_grad_enabled():
        return q.dtype == torch.bfloat16 and 1 < q.shape[2] <= keys <= SHORT_ALONE and weights <= SMALL
    if bias is not None and bias.requires_grad:
        return True  # the fused kernel gives a bias no gradient
    return weights <= SMALL and (p > 0.0 or (q.dtype == torch.bfloat16 and keys <= SHORT))
