"""Softmax attention to tokens that are near, in time and memory that grow with T, not with T^2."""

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.model.ops.attention import attend

LEAST = 16  # tokens of a block: in smaller ones a processor does not get going


def attend_near(
    q: Tensor, k: Tensor, v: Tensor, window: int, *, causal: bool, lengths: Tensor | None = None,
    p: float = 0.0, scale: float | None = None, softcap: float | None = None,
) -> Tensor:  # fmt: skip
    """`attend` where token i sees token j if |i - j| < window and, with causal, j <= i.   Beltagy et al. 2020,
    arXiv:2004.05150, sec. 3.1.

    A row is one sequence that begins in slot 0, the first lengths[b] of its slots are tokens (None: all), and padding
    is seen by nobody. A block of C >= window tokens sees itself and the block before it, and without causal the one
    behind it. q: (B, T, H, D), k: (B, T, G, D), v: (B, T, G, E) -> (B, T, H * E); rows of padding may hold anything.
    """
    (rows, tokens), size = q.shape[:2], max(window, LEAST)
    count = -(-tokens // size)
    missing = count * size - tokens
    q, k, v = (F.pad(x, (0, 0, 0, 0, 0, missing)).reshape(rows, count, size, *x.shape[2:]) for x in (q, k, v))
    k, v = (beside(x, causal) for x in (k, v))
    at = torch.arange(count * size, device=q.device).view(count, size)
    keys = beside(at[None, ..., None, None] + 1, causal)[0, ..., 0, 0] - 1  # (N, 2 C or 3 C); -1: there is no block
    behind = at[..., None] - keys[:, None]
    mask = (keys >= 0)[:, None] & ((behind >= 0) & (behind < window) if causal else behind.abs() < window)
    mask = mask[None].expand(rows, -1, -1, -1)
    if not causal:  # with it, what lies behind the last token is ahead of all tokens
        end = torch.full((1,), tokens, device=q.device) if lengths is None else lengths
        mask = mask & (keys < end[:, None, None])[:, :, None]
    q, k, v, mask = (x.flatten(0, 1) for x in (q, k, v, mask))
    y = attend(q, k, v, mask[:, None], p=p, scale=scale, softcap=softcap)
    return y.reshape(rows, count * size, -1)[:, :tokens]


def beside(x: Tensor, causal: bool) -> Tensor:
    """Returns blocks (B, N, C, G, D), each with the one before it, and without causal the one behind; else zeros."""
    around = F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0 if causal else 1))
    return torch.cat([around[:, i : i + x.shape[1]] for i in range(2 if causal else 3)], 2)
