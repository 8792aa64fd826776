"""The sum rule: a matrix to which every token adds the outer product of its key and its value.

Heads stand before time: q, k: (B, H, T, D), v: (B, H, T, E), log_decay: (B, H, T), at most 0, or None for no decay,
starts: (B, T) bool, True where a document begins, which finds an empty matrix, or None; S: (B, H, D, E), the matrix
before the first token. A token with k = 0 and log_decay = 0 writes nothing.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.model.ops import fla

STRETCH = 2048  # tokens whose chunks are in memory at once: those of a longer sequence would leave the cache


def sum_rule(
    q: Tensor, k: Tensor, v: Tensor, S: Tensor,
    log_decay: Tensor | None = None, starts: Tensor | None = None, chunk: int = 32, stretch: int = STRETCH,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """y_t = q_t S_t  with  S_t = exp(log_decay_t) S_{t-1} + k_t v_t^T.   Katharopoulos et al. 2020, arXiv:2006.16236.

    A chunk of C tokens at once: Y = before Q S + (within * Q K^T) V,  S <- before_C S + (after K)^T V, with the weights
    of `spans`. Only the carry of S goes from chunk to chunk, so the cost is linear in T. Returns (B, H, T, E) and S
    after the last token.
    """
    T = q.shape[2]
    if T == 1:
        return sum_step(q, k, v, S, log_decay, starts)
    if fla.applies(q):
        return fla.sum_rule(q, k, v, S, log_decay, starts)
    if stretch < T:
        return in_stretches(partial(sum_rule, chunk=chunk), (q, k, v), S, log_decay, starts, stretch)
    within, before, after = spans(log_decay, starts, k, chunk)
    q, k, v = (chunks(x, chunk) for x in (q, k, v))
    added = weigh(k, after).mT @ v  # (B, H, N, D, E)
    before_each: list[Tensor] = []
    s = S
    decays = None if before is None else before[..., -1, None, None].unbind(2)
    for n, new in enumerate(added.unbind(2)):
        before_each.append(s)
        s = new + (s if decays is None else decays[n] * s)
    y = weigh(q, before) @ torch.stack(before_each, 2) + (within * (q @ k.mT)) @ v
    return y.flatten(2, 3)[:, :, :T], s


def sum_rule_loop(
    q: Tensor, k: Tensor, v: Tensor, S: Tensor, log_decay: Tensor | None = None, starts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same, one token at a time."""
    parts: list[Tensor] = []
    s = S
    qs, ks, vs = (torch.split(x, 1, 2) for x in (q, k, v))  # the gradient of T slices, each by itself, would cost T^2
    for t, (decay, start) in enumerate(each(log_decay, starts, len(qs))):
        y, s = sum_step(qs[t], ks[t], vs[t], s, decay, start)
        parts.append(y)
    return torch.cat(parts, 2), s


def sum_step(
    q: Tensor, k: Tensor, v: Tensor, S: Tensor, log_decay: Tensor | None = None, starts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One token, T = 1."""
    s = (remaining(S, log_decay, starts) + k.mT * v).contiguous()  # as products take it, whatever the number of rows
    return q @ s, s


def sum_write(k: Tensor, v: Tensor, S: Tensor, log_decay: Tensor | None = None, starts: Tensor | None = None) -> Tensor:
    """Returns S after the last token, in one product, for callers that read nothing on the way."""
    s = S
    if starts is not None:
        document = starts.cumsum(1)[:, None]  # (B, 1, T)
        k = k * (document == document[..., -1:])[..., None]
        s = s.masked_fill(document[..., -1:, None] > 0, 0.0)
        log_decay = None if log_decay is None else log_decay.masked_fill(starts[:, None], 0.0)
    if log_decay is not None:
        total = log_decay.flip(2).cumsum(2).flip(2)  # from t to the end
        k, s = k * (total - log_decay)[..., None].exp(), s * total[..., :1, None].exp()
    return s + k.mT @ v


def squash_rule(
    q: Tensor, k: Tensor, v: Tensor, S: Tensor,
    squash: Callable[[Tensor], Tensor], valid: Tensor, starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """y_t = q_t S_t  with  S_t = squash(S_{t-1} + k_t v_t^T), elementwise: there is no form but the loop.

    Schmidhuber 1992, Neural Computation 4(1). valid: (B, T) bool; where it is False nothing is squashed either.
    """
    parts: list[Tensor] = []
    s = S
    qs, ks, vs = (torch.split(x, 1, 2) for x in (q, k, v))
    for t, (_, start) in enumerate(each(None, starts, len(qs))):
        s = remaining(s, None, start)
        s = torch.where(valid[:, t, None, None, None], squash(s + ks[t].mT * vs[t]), s)
        parts.append(qs[t] @ s)
    return torch.cat(parts, 2), s


def remaining(S: Tensor, log_decay: Tensor | None, starts: Tensor | None) -> Tensor:
    """Returns what remains of S when a token comes. log_decay: (B, H, 1), starts: (B, 1)."""
    s = S if log_decay is None else S * log_decay[..., None].exp()
    return s if starts is None else s.masked_fill(starts[..., None, None], 0.0)


def each(
    log_decay: Tensor | None, starts: Tensor | None, count: int, size: int = 1
) -> Iterator[tuple[Tensor | None, Tensor | None]]:
    """Yields what `remaining` takes, token by token, or by pieces of `size` tokens, `count` of them."""
    decays = [None] * count if log_decay is None else torch.split(log_decay, size, 2)
    return zip(decays, [None] * count if starts is None else torch.split(starts, size, 1), strict=True)


def in_stretches(
    rule: Callable[..., tuple[Tensor, Tensor]], tensors: tuple[Tensor, ...], S: Tensor,
    log_decay: Tensor | None, starts: Tensor | None, size: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Runs a rule on `size` tokens after `size` tokens.

    tensors: its arguments before S, time as the third dimension.
    """
    parts: list[Tensor] = []
    s = S
    pieces = list(zip(*(torch.split(x, size, 2) for x in tensors), strict=True))
    for piece, (decay, start) in zip(pieces, each(log_decay, starts, len(pieces), size), strict=True):
        y, s = rule(*piece, s, decay, start)
        parts.append(y)
    return torch.cat(parts, 2), s


def chunks(x: Tensor, size: int) -> Tensor:
    """Splits (B, H, T, D) -> (B, H, N, C, D): the fewest chunks of at most `size` tokens, all as long, zeros behind."""
    length = x.shape[2]
    count = -(-length // size)
    C = -(-length // count)
    missing = count * C - length
    whole = F.pad(x, (0, 0, 0, missing)) if missing else x
    return whole.reshape(*x.shape[:2], count, C, x.shape[3])


def weigh(x: Tensor, weight: Tensor | None) -> Tensor:
    """Returns every vector of x (..., D) times its weight (...) (None: 1)."""
    return x if weight is None else x * weight[..., None]


class Spans(NamedTuple):
    """The share of what was written that remains where it is asked for, in chunks (None: all of it)."""

    within: Tensor  # (..., C, C) [i, j]: at token i, of what token j wrote; 0 for j > i and across documents
    before: Tensor | None  # (..., C) [i]: at token i, of the matrix that the chunk found
    after: Tensor | None  # (..., C) [j]: at the end of the chunk, of what token j wrote


def spans(log_decay: Tensor | None, starts: Tensor | None, like: Tensor, size: int) -> Spans:
    """Returns the spans of a sequence: exponentials of sums of decays.

    Sums never leave a chunk, only their differences within a document are used, and no exponent is above 0, so nothing
    overflows and gradients are finite. like: (B, H, T, D) gives length, dtype and device.
    """
    C = chunks(like[:1, :1, :, :1], size).shape[3]
    mask, carried = torch.ones(C, C, dtype=torch.bool, device=like.device).tril(), None
    if starts is not None:
        document = chunks(starts[:, None, :, None], size)[..., 0].cumsum(-1)  # (B, 1, N, C)
        mask, carried = mask & (document[..., :, None] == document[..., None, :]), document == 0
    if log_decay is None:
        within = mask.to(like.dtype)
        return (
            Spans(within, None, None) if carried is None else Spans(within, carried.to(like.dtype), within[..., -1, :])
        )
    # The first token of a document finds nothing, so its decay says nothing, and would only cost precision.
    decay = log_decay if starts is None else log_decay.masked_fill(starts[:, None], 0.0)
    total = chunks(decay[..., None], size)[..., 0].cumsum(-1)  # (B, H, N, C)
    within = (total[..., :, None] - total[..., None, :]).masked_fill(~mask, -torch.inf).exp()
    before = total if carried is None else total.masked_fill(~carried, -torch.inf)
    return Spans(within, before.exp(), within[..., -1, :])
