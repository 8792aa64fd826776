"""One vector of each row of hidden states: first or last token, mean, maximum; padding anywhere changes nothing."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from transduce.config import nearest
from transduce.errors import UserError
from transduce.model.layout import Layout

PACKED = (
    "a row of several documents has no vector of its own, because its tokens belong to different texts; give each text "
    "a row (batch.packing=false)"
)


def first(hidden: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Returns the first token that counts."""
    return hidden.gather(1, mask.int().argmax(1, keepdim=True).expand(-1, -1, hidden.shape[2]))[:, 0]


def last(hidden: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Returns the last token that counts."""
    return first(hidden.flip(1), mask.flip(1), positions)


def largest(hidden: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Returns the maximum of each feature."""
    return hidden.masked_fill(~mask, -torch.inf).amax(1)


def mean(hidden: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Returns the sum over the number of tokens."""
    return hidden.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)


def mean_sqrt(hidden: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Returns the sum over the root of the number of tokens."""
    return hidden.masked_fill(~mask, 0.0).sum(1) / mask.sum(1).sqrt()


def weighted(hidden: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    """Returns the mean in which the token at position t weighs t + 1.   Muennighoff 2022, arXiv:2202.08904, eq. 1."""
    weights = mask * (positions + 1)
    return (hidden.masked_fill(~mask, 0.0) * weights).sum(1) / weights.sum(1)


POOLS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {  # (B, T, M), (B, T, 1) bool, (B, T, 1) -> (B, M)
    "first": first,
    "last": last,
    "mean": mean,
    "max": largest,
    "weighted": weighted,
    "mean-sqrt": mean_sqrt,
}


def require_pools(names: Sequence[str]) -> None:
    """Raises UserError unless every name is one of POOLS, and there is at least one."""
    if not names:
        raise UserError(f"pool is empty, so a row has no vector; use one or more of {', '.join(POOLS)}")
    for name in names:
        if name not in POOLS:
            guess = nearest(name, list(POOLS))
            hint = f"; did you mean `{guess}`?" if guess else f"; use one or more of {', '.join(POOLS)}"
            raise UserError(f"pool={name} is not a way to pool{hint}")


def require_rows(layout: Layout) -> None:
    """Raises UserError where a row holds several documents. Looks at the data only where a layout has segments."""
    if layout.segments is not None and bool((layout.starts.sum(1) > 1).any()):
        raise UserError(PACKED)


def pooled(hidden: Tensor, layout: Layout, names: Sequence[str] = ("mean",), skip: int = 0) -> Tensor:
    """Returns (B, len(names) M) float32 (float64 where that is what hidden is): one vector of each row (B, T, M).

    names: keys of POOLS; several stand one behind the other.
    skip: tokens at the beginning of each row that do not count, such as those of a prompt.

    Every row holds at least one token that counts. Raises UserError for a row of several documents.
    """
    require_rows(layout)
    hidden = hidden if hidden.dtype == torch.float64 else hidden.float()
    mask, positions = (layout.positions >= skip)[..., None], layout.positions[..., None]
    return torch.cat([POOLS[name](hidden, mask, positions) for name in names], -1)
