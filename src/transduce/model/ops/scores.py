"""Scores of queries and keys, and the weights made of them, as pure functions.

Tested in tests/model/mixers/test_additive.py.
"""

from typing import cast

import torch
import torch.utils.checkpoint
from torch import Tensor

from transduce.model.ops.rows import alike, product

PAIRS = 1 << 24  # numbers held at once for all pairs of a query and a key


def product_scores(q: Tensor, k: Tensor, scale: float = 1.0) -> Tensor:
    """scale q_i^T k_j, head by head. q: (B, T, H, D), k: (B, N, H, D). Returns (B, H, T, N)."""
    return product((q * scale).transpose(1, 2), k.permute(0, 2, 3, 1))


def additive_scores(q: Tensor, k: Tensor, v: Tensor, pairs: int = PAIRS) -> Tensor:
    """e_ij = v^T tanh(q_i + k_j), head by head.   Bahdanau et al. 2014, arXiv:1409.0473, sec. A.1.2.

    q: (B, T, H, S), W of what asks; k: (B, N, H, S), U of what is asked; v: (H, S). Returns (B, H, T, N).
    The tanh of all pairs has B H T N S numbers; beyond `pairs` of them, queries are taken some at a time, and computed
    again for the gradient.
    """
    q, k = q.permute(2, 0, 1, 3), k.permute(2, 0, 1, 3)
    some = max(1, pairs // (k.numel() or 1))
    if q.shape[2] <= some:
        return _additive(q, k, v)
    scores = _again if torch.is_grad_enabled() else _additive
    return torch.cat([scores(q[:, :, t : t + some], k, v) for t in range(0, q.shape[2], some)], 2)


def _additive(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(H, B, T, S), (H, B, N, S), (H, S) -> (B, H, T, N)."""
    together = (q[:, :, :, None] + k[:, :, None]).tanh_()
    v = v.to(together.dtype)
    if alike(q):  # a sum per pair, which a product with a vector adds up in other orders for other numbers of pairs
        return together.mul_(v[:, None, None, None]).sum(-1).transpose(0, 1)
    return torch.einsum("hbtns,hs->bhtn", together, v)


def _again(*tensors: Tensor) -> Tensor:
    return cast(Tensor, torch.utils.checkpoint.checkpoint(_additive, *tensors, use_reentrant=False))


def attending(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Returns softmax over the keys that a query sees, in float32 at least; exactly zero on the others, and on all keys
    of a query that sees none. scores: (B, H, T, N), mask: bool, broadcastable, True = sees; None: all.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is None:
        return scores.softmax(-1)
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~mask, 0.0)
