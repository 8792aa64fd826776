"""The tokens that a convolution sees, for every layout, as pure functions.

A kernel has K taps, `dilation` tokens apart, so it reaches over `span` = (K - 1) dilation tokens besides its own. The
taps of x: (B, T, C) are K tensors (B, T, C); taps side by side, multiplied by one matrix, are a convolution (`unfold`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.model.layout import Layout


def depthwise(taps: list[Tensor], weight: Tensor) -> Tensor:
    """y_t = sum_j w_j * x_{t - j}, feature by feature. weight: (K, C)."""
    parts = [w * tap for w, tap in zip(weight, taps, strict=True)]
    return sum(parts[1:], parts[0])


def around(x: Tensor, layout: Layout, kernel: int, dilation: int) -> list[Tensor]:
    """Tap j is x_{t + (a - j) dilation}, a = (K - 1) // 2 of them ahead; zeros beyond a row's own tokens.

    Rows of one sequence: no `segments`.
    """
    assert layout.segments is None, "documents stand in rows of their own here"
    span, ahead = (kernel - 1) * dilation, (kernel - 1) // 2 * dilation
    x = x if layout.lengths is None else x.masked_fill(~layout.valid[..., None], 0.0)
    return shifted(F.pad(x, (0, 0, span - ahead, ahead)), kernel, dilation)


def before(
    x: Tensor, layout: Layout, kernel: int, dilation: int, past: Tensor | None = None
) -> tuple[list[Tensor], Tensor | None]:
    """Tap j is x_{t - j dilation} of the same document, zeros before its first token; padding is not a token.

    past: (B, span, C), the tokens just before these, zeros where the document has none. Returns the taps and what is
    then past, None if None was given.
    """
    span = (kernel - 1) * dilation
    old = x.new_zeros(x.shape[0], span, x.shape[2]) if past is None else past.to(x.dtype)
    if layout.segments is None:  # the row is one sequence, which can only start in its first slot
        line = torch.cat([old if past is None else old.masked_fill(layout.starts[:, :1, None], 0.0), x], 1)
        taps = shifted(line, kernel, dilation)
        if past is None:
            return taps, None
        tail = line[:, -span:] if layout.lengths is None else take(line, stretch(layout.lengths, span))
        return taps, tail.to(past.dtype)
    # Tokens stand side by side on a line, padding behind them; a token is known by its rank among those of the row.
    line = torch.cat([old, take(x, (~layout.valid).long().argsort(stable=True, dim=1))], 1)
    rank = layout.valid.cumsum(1) - 1
    first = torch.where(layout.starts, rank, -span - 1).cummax(1).values  # rank of the document's first token
    taps = [x]
    for back in range(dilation, span + 1, dilation):
        tap = take(line, (rank + span - back).clamp(min=0))
        taps.append(torch.where((rank - back >= first)[..., None], tap, 0.0))
    if past is None:
        return taps, None
    last = stretch(layout.valid.sum(1), span)  # where the last tokens stand on the line: at their rank + span
    tail = torch.where((last - span >= first[:, -1:])[..., None], take(line, last), 0.0)
    return taps, tail.to(past.dtype)


def shifted(line: Tensor, kernel: int, dilation: int) -> list[Tensor]:
    """Returns views (B, T, C) of a line (B, span + T, C), each `dilation` tokens earlier than the one before."""
    span = (kernel - 1) * dilation
    return [line[:, start : start + line.shape[1] - span] for start in range(span, -1, -dilation)]


def take(x: Tensor, slots: Tensor) -> Tensor:
    """(B, N, C) at slots (B, T) -> (B, T, C)."""
    return x.take_along_dim(slots[..., None], 1)


def stretch(start: Tensor, size: int) -> Tensor:
    """start, start + 1, ... of every row: (B,) -> (B, size)."""
    return start[:, None] + torch.arange(size, device=start.device)
