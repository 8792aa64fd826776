"""The delta rule: a matrix that is corrected, not added to; with a decay, the gated delta rule.

Shapes as in `ops.linear`, and beta: (B, H, T), the strength of each write. A token with k = 0 or beta = 0, and
log_decay = 0, writes nothing. Keys should have length 1 (or sum 1 and no negative entry): with beta |k|^2 > 2 the
matrix may grow without bound.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor

from transduce.model.ops import fla
from transduce.model.ops.linear import STRETCH, Spans, chunks, each, in_stretches, remaining, spans, weigh


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, S: Tensor,
    log_decay: Tensor | None = None, starts: Tensor | None = None, chunk: int = 32, stretch: int = STRETCH,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """y_t = q_t S_t  with  S_t = a_t S_{t-1} + k_t u_t^T,  u_t = beta_t (v_t - a_t S_{t-1}^T k_t),  a = exp(log_decay).

    Schlag et al. 2021, arXiv:2102.11174; with decay: Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464. A chunk at once
    (Yang et al. 2024, arXiv:2406.06484): Y = before Q S + (within * Q K^T) U, with the U of `corrections`. Returns
    (B, H, T, E) and S after the last token.
    """
    if q.shape[2] == 1:
        return delta_step(q, k, v, beta, S, log_decay, starts)
    if fla.applies(q):
        return fla.delta_rule(q, k, v, beta, S, log_decay, starts)
    if q.shape[2] > stretch:
        return in_stretches(partial(delta_rule, chunk=chunk), (q, k, v, beta), S, log_decay, starts, stretch)
    weights = spans(log_decay, starts, k, chunk)
    u, before_each, after = corrections(k, v, beta, S, weights, chunk)
    queries, keys = chunks(q, chunk), chunks(k, chunk)
    y = weigh(queries, weights.before) @ before_each + (weights.within * (queries @ keys.mT)) @ u
    return y.flatten(2, 3)[:, :, : q.shape[2]], after


def delta_rule_loop(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, S: Tensor,
    log_decay: Tensor | None = None, starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Computes the same as `delta_rule`, one token at a time."""
    parts: list[Tensor] = []
    s = S
    qs, ks, vs, bs = (torch.split(x, 1, 2) for x in (q, k, v, beta))
    for t, (decay, start) in enumerate(each(log_decay, starts, len(qs))):
        y, s = delta_step(qs[t], ks[t], vs[t], bs[t], s, decay, start)
        parts.append(y)
    return torch.cat(parts, 2), s


def delta_step(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, S: Tensor,
    log_decay: Tensor | None = None, starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Computes the same as `delta_rule` for one token, T = 1."""
    s = remaining(S, log_decay, starts)
    s = (s + k.mT * (beta[..., None] * (v - k @ s))).contiguous()
    return q @ s, s


def delta_write(
    k: Tensor, v: Tensor, beta: Tensor, S: Tensor,
    log_decay: Tensor | None = None, starts: Tensor | None = None, chunk: int = 32,
) -> Tensor:  # fmt: skip
    """Returns S after the last token, for callers that do not read the memory before."""
    if k.shape[2] == 1:
        return delta_step(k, k, v, beta, S, log_decay, starts)[1]
    return corrections(k, v, beta, S, spans(log_decay, starts, k, chunk), chunk)[2]


def corrections(
    k: Tensor, v: Tensor, beta: Tensor, S: Tensor, weights: Spans, chunk: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Solves (I + tril(beta within * K K^T, -1)) U = beta (V - before K S) for U, which each chunk writes.

    The solution is U = U_0 - W S, affine in the matrix S before the chunk. U_0 and W are computed for all chunks at
    once; then S <- before_C S + (after K)^T U goes from chunk to chunk. (This step could be computed for all chunks at
    once too, but as a D x D matrix of each, which costs more than all the rest.) A single chunk knows its S, and needs
    no W.

    Returns U: (B, H, N, C, E), the matrix S before each chunk: (B, H, N, D, E), and S after the last token.
    """
    k, v, strength = chunks(k, chunk), chunks(v, chunk), chunks(beta[..., None], chunk)
    strong_keys = strength * k
    A = weights.within * (strong_keys @ k.mT)
    last, left_over = (
        weigh(k, weights.after).mT,
        None if weights.before is None else weights.before[..., -1, None, None],
    )
    if k.shape[2] == 1:
        s = S[:, :, None]
        u = solve(A, strength * v - weigh(strong_keys, weights.before) @ s)
        return u, s, ((s if left_over is None else left_over * s) + last @ u).squeeze(2)
    X = solve(A, torch.cat([strength * v, weigh(strong_keys, weights.before)], -1)).flatten(0, 1)
    left: Sequence[Tensor | None] = [None] * k.shape[2]
    if left_over is not None:
        left = left_over.expand(*S.shape[:2], -1, 1, 1).flatten(0, 1).unbind(1)
    written: list[Tensor] = []
    before_each: list[Tensor] = []
    s = S.flatten(0, 1)
    parts = (x.unbind(1) for x in (X[..., : v.shape[-1]], X[..., v.shape[-1] :], last.flatten(0, 1)))
    for u, w, write, remains in zip(*parts, left, strict=True):
        before_each.append(s)
        u = torch.baddbmm(u, w, s, alpha=-1)
        written.append(u)
        s = torch.baddbmm(s if remains is None else remains * s, write, u)
    u, before = (torch.stack(x, 1).view(*S.shape[:2], -1, *x[0].shape[1:]) for x in (written, before_each))
    return u, before, s.view(S.shape)


def solve(A: Tensor, R: Tensor) -> Tensor:
    """Returns the X of A X = R. A: lower triangular; its diagonal counts as ones, and nothing above it is read.

    It solves X^T A^T = R^T, whose numbers lie in memory in the order that the solver needs.
    """
    return cast(Tensor, torch.linalg.solve_triangular(A.mT, R.mT, upper=True, left=False, unitriangular=True)).mT
