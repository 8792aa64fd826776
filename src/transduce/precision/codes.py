"""Matrices as small integers: which numbers they stand for, and how they are found.

int8: one scale to a row. Its products are sums of unsigned times signed bytes, which processors without VNNI add in
pairs to 16 bits, where 255 * 127 + 255 * 127 does not fit. So the scale of a row is such that two neighbours add up to
at most 128 in either direction: no pair overflows, and products are exact on every processor.

int4: one scale and one offset to a group of GROUP columns, both in bfloat16, as torch's product takes them.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

GROUP = 32  # columns that share a scale
LEVELS = 15  # the greatest code of four bits
MIDDLE = 8  # the code that stands for the offset
SHRINKS = tuple(1.0 - 0.04 * n for n in range(12))  # of a group's range, of which the best is taken
TINY = 1e-30  # in the place of a scale of 0


class Int8(NamedTuple):
    """W[n, k] = codes[n, k] * scale[n].   codes: (N, K) int8. scale: (N,) float32."""

    codes: Tensor
    scale: Tensor

    def numbers(self) -> Tensor:
        """Returns the matrix that the codes stand for, (N, K) float32."""
        return self.codes.float() * self.scale[:, None]


class Int4(NamedTuple):
    """W[n, k] = (codes[n, k] - 8) * scale[n, k // 32] + offset[n, k // 32].

    codes: (N, K) uint8, 0 to 15, K a multiple of GROUP. scale, offset: (N, K / GROUP) bfloat16.
    """

    codes: Tensor
    scale: Tensor
    offset: Tensor

    def numbers(self) -> Tensor:
        """Returns the matrix that the codes stand for, (N, K) float32."""
        scale, offset = (x.float()[..., None] for x in (self.scale, self.offset))
        return ((grouped(self.codes.float()) - MIDDLE) * scale + offset).flatten(1)


def round_int8(weight: Tensor) -> Int8:
    """Returns the nearest codes of (N, K), on the finest scale on which no pair of neighbours overflows.

    The sum of two neighbours of one sign is at most 127 before they are rounded, thus at most 128 after.
    """
    weight = weight.detach().float()
    pairs = F.pad(weight, (0, weight.shape[1] % 2)).view(len(weight), -1, 2)
    greatest = torch.maximum(pairs.clamp_min(0).sum(2), pairs.clamp_max(0).sum(2).neg()).amax(1)
    scale = (greatest / 127).clamp_min(TINY)
    return Int8((weight / scale[:, None]).round().to(torch.int8), scale)


def round_int4(weight: Tensor, matters: Tensor | None = None) -> Int4:
    """Returns the codes of (N, K), each group on the scale that leaves the least squared error.

    matters: (K,), by which the squared error of each column is multiplied (None: 1). Columns are filled up with zeros
    to a multiple of GROUP.
    """
    weight = padded(weight.detach().float())
    scale, offset = fit_groups(grouped(weight), None if matters is None else grouped(padded(matters[None].float()))[0])
    return Int4(nearest(grouped(weight), scale, offset).flatten(1), scale, offset)


def fit_groups(weight: Tensor, matters: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns the scale and the offset of each group of (N, G, GROUP), both (N, G) bfloat16.

    A narrower range cuts off the ends of a group and makes the steps between smaller: the range that leaves the least
    squared error is taken, of those in SHRINKS. matters: (G, GROUP).
    """
    low, high = weight.amin(2), weight.amax(2)
    middle, half = (low + high) / 2, (high - low) / 2
    best = torch.full_like(low, float("inf"))
    scale, offset = torch.ones_like(low, dtype=torch.bfloat16), torch.zeros_like(low, dtype=torch.bfloat16)
    for shrink in SHRINKS:
        step = (2 * shrink * half / LEVELS).clamp_min(TINY).bfloat16()
        start = (middle - shrink * half + MIDDLE * step.float()).bfloat16()
        gap = (meant(nearest(weight, step, start), step, start) - weight).square()
        error = (gap if matters is None else gap * matters).sum(2)
        better = error < best
        best = torch.where(better, error, best)
        scale, offset = torch.where(better, step, scale), torch.where(better, start, offset)
    return scale, offset


def nearest(weight: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Returns the codes of (..., GROUP) that are nearest, uint8. scale, offset: (...,)."""
    steps = (weight - offset.float()[..., None]) / scale.float()[..., None]
    return (steps.round() + MIDDLE).clamp_(0, LEVELS).to(torch.uint8)


def meant(codes: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Returns what the codes of groups (..., GROUP) stand for, float32."""
    return (codes.float() - MIDDLE) * scale.float()[..., None] + offset.float()[..., None]


def padded(x: Tensor) -> Tensor:
    """Returns (..., K) with zeros behind, up to a multiple of GROUP."""
    short = -x.shape[-1] % GROUP
    return F.pad(x, (0, short)) if short else x


def grouped(x: Tensor) -> Tensor:
    """Returns (N, K) as (N, K / GROUP, GROUP)."""
    return x.view(len(x), -1, GROUP)
