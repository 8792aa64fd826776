"""Rotary positions: turn pairs of features by an angle proportional to the position."""

import torch
from torch import Tensor


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns (x_i, x_{i + D/2}) by its angle (the half-split pairing of GPT-NeoX and LLaMA).

    x: (B, T, H, D); cos, sin: (B, T, D/2). So <rotate(q, m), rotate(k, n)> depends on m - n only.
    """
    a, b = x.to(torch.promote_types(x.dtype, torch.float32)).chunk(2, dim=-1)
    cos, sin = cos[:, :, None], sin[:, :, None]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
