"""The same bits for a row, whoever stands beside it: products and functions that see to it where that is wanted.

How many numbers are computed at once decides which instructions a CPU does it with, and so the last bits. Each function
here gives what it is named after, and inside of `rows_alike`, on a CPU, computes a few numbers among others.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 16  # that MKL multiplies as it multiplies many, on any processor; for fewer it may add in another order
FEW = 16  # queries of one memory, such as the beams of a source: each asks alone, for their number changes
LANES = 32  # numbers of float32 in two of the widest vectors, a round of a loop; the rest takes another exponential


_wanted: ContextVar[bool] = ContextVar("rows_alike", default=False)


@contextmanager
def rows_alike(wanted: bool) -> Generator[None]:
    """Inside, rows get the same bits whoever stands beside them, or not, as is faster for a row alone."""
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def alike(x: Tensor) -> bool:
    """Says whether rows are to get the same bits whoever stands beside them."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    return _wanted.get() and x.device.type == "cpu"


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b. x: (..., K), weight: (N, K)."""
    rows = x.shape[:-1].numel()
    if rows >= ROWS or not alike(x):
        return F.linear(x, weight, bias)
    y = F.linear(more(x.reshape(rows, -1)), weight, bias)
    return y[:rows].view(*x.shape[:-1], -1)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b for every matrix of a batch. a: (B, ..., T, K), b: (B, ..., K, N)."""
    if not alike(a):
        return a @ b
    if 1 < a.shape[-2] < FEW:
        return torch.cat([product(a[..., t : t + 1, :], b) for t in range(a.shape[-2])], -2)
    a = a.contiguous()
    if a.shape[:-2].numel() > 1:
        return a @ b
    return (a.expand(2, *a.shape[1:]) @ b.expand(2, *b.shape[1:]))[:1]  # a batch of one would go another way


def more(x: Tensor, rows: int = ROWS) -> Tensor:
    """Returns x (n, ...), and zeros behind it up to so many rows."""
    return x if x.shape[0] >= rows else torch.cat([x, x.new_zeros(rows - x.shape[0], *x.shape[1:])])


def by_number(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f(x), where f is a function of each number alone."""
    if not alike(x) or x.numel() % LANES == 0:
        return f(x)
    flat = F.pad(x.reshape(-1), (0, -x.numel() % LANES))
    return f(flat)[: x.numel()].view(x.shape)
