"""Rotary positions: turn pairs of features by an angle proportional to the position."""

import torch
from torch import Tensor


def rotary_table(limit: int, dim: int, base: float = 10_000.0) -> Tensor:
    """cos and sin of position * base^(-2i/dim).   Su et al. 2021, arXiv:2104.09864, eq. 15.

    Returns (limit, 2, dim/2) float32: row p holds the cosines, then the sines, of position p.
    """
    angle = torch.arange(limit, dtype=torch.float64)[:, None] * base ** (
        -torch.arange(0, dim, 2, dtype=torch.float64) / dim
    )
    return torch.stack([angle.cos(), angle.sin()], dim=1).float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn (x_i, x_{i + D/2}) by its angle (the half-split pairing of GPT-NeoX and LLaMA).

    x: (B, T, H, D); cos, sin: (B, T, D/2). So <rotate(q, m), rotate(k, n)> depends on m - n only.
    """
    a, b = x.to(torch.promote_types(x.dtype, torch.float32)).chunk(2, dim=-1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
