"""A picture turned, enlarged and slanted a little."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.data.augment.augment import AugmentConfig, Pixels
from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class AffineConfig(AugmentConfig):
    """A turn, a change of size and a slant about the middle, each uniform within its bounds, by bilinear interpolation.

    degrees: of the turn, at most, either way.
    scale: the size changes by at most this factor, up or down.
    slant: the tangent of the slant, at most, either way.
    """

    kind: ClassVar[str] = "affine"
    degrees: float = 10.0
    scale: float = 1.1
    slant: float = 0.1

    def __post_init__(self) -> None:
        if not (0 <= self.degrees <= 180 and 1 <= self.scale <= 10 and 0 <= self.slant <= 10):
            have = f"degrees={self.degrees:g}, scale={self.scale:g}, slant={self.slant:g}"
            raise UserError(f"{have} are no small changes; use degrees=10, scale=1.1 (1: none) and slant=0.1")

    def apply(self, picture: Pixels, rng: np.random.Generator) -> Pixels:
        turn = math.radians(self.degrees) * rng.uniform(-1, 1)
        size, slant = self.scale ** rng.uniform(-1, 1), self.slant * rng.uniform(-1, 1)
        cos, sin = math.cos(turn) / size, math.sin(turn) / size
        height, width = picture.shape[1:]
        y = (np.arange(height, dtype=np.float64) - (height - 1) / 2)[:, None]
        x = np.arange(width, dtype=np.float64) - (width - 1) / 2 + slant * y
        return bilinear(picture, sin * x + cos * y + (height - 1) / 2, cos * x - sin * y + (width - 1) / 2)


def bilinear(picture: Pixels, y: NDArray[np.float64], x: NDArray[np.float64]) -> Pixels:
    """Returns (C, H, W), the picture at the places y, x (H, W); black outside of it."""
    height, width = picture.shape[1:]
    wide = np.pad(picture, ((0, 0), (1, 1), (1, 1))).astype(np.float32)
    y, x = np.clip(y + 1, 0, height + 1), np.clip(x + 1, 0, width + 1)
    top, left = np.minimum(y.astype(np.int64), height), np.minimum(x.astype(np.int64), width)
    below, right = (y - top).astype(np.float32), (x - left).astype(np.float32)
    upper = wide[:, top, left] * (1 - right) + wide[:, top, left + 1] * right
    lower = wide[:, top + 1, left] * (1 - right) + wide[:, top + 1, left + 1] * right
    return np.rint(upper * (1 - below) + lower * below).astype(np.uint8)
