"""Windows with soft ends: masks in [0, 1] that are differentiable in where they begin and end.

Tested in tests/model/mixers/test_differentiable_window.py.
"""

import torch
from torch import Tensor

Ends = tuple[Tensor, Tensor]  # (B, N) each: first and last slot of the segment in which a slot lies


def soft_window(left: Tensor, right: Tensor, ends: Ends | None = None, *, constrained: bool = False) -> Tensor:
    """m = (l U) * (r U^T) + (l U^T) * (r U), U upper triangular ones.   Nguyen et al. 2020, arXiv:2006.13561.

    left, right: (B, H, T, N), where the window begins and ends: for each query, probabilities over the keys, in the
    order of their positions. The second term is for boundaries the other way round; constrained: without it. Two equal
    boundaries, both certain, give 2 at their key. ends: the mask is constant within these segments.
    """
    m = up_to(left, ends) * from_on(right, ends)
    return m if constrained else m + from_on(left, ends) * up_to(right, ends)


def up_to(p: Tensor, ends: Ends | None) -> Tensor:
    """p U: at each key, the sum over it and all before it, to the end of its segment."""
    sums = p.cumsum(-1)
    return sums if ends is None else sums.gather(-1, ends[1][:, None, None].expand_as(p))


def from_on(p: Tensor, ends: Ends | None) -> Tensor:
    """p U^T: at each key, the sum over it and all behind it, from the beginning of its segment."""
    sums = p.flip(-1).cumsum(-1).flip(-1)
    return sums if ends is None else sums.gather(-1, ends[0][:, None, None].expand_as(p))


def segment_ends(positions: Tensor, length: int) -> Ends:
    """Returns the segments of `length` positions of each document, for slots at positions (B, N), -1 = none.

    Documents stand one behind the other, each in the order of its positions; what stands between is of no segment.
    """
    document = (positions == 0).cumsum(1)
    number = torch.where(positions < 0, 0, (document << 32) + positions // length).cummax(1)[0]
    return torch.searchsorted(number, number), torch.searchsorted(number, number, right=True) - 1
