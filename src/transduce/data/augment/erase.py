"""A picture with a square missing."""

from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from transduce.data.augment.augment import AugmentConfig, Pixels
from transduce.errors import require_at_least


@dataclass(frozen=True, kw_only=True)
class EraseConfig(AugmentConfig):
    """A square around a random place holds the mean of the picture.   DeVries & Taylor 2017, arXiv:1708.04552.

    side: pixels of the side of the square, part of which may lie outside.
    """

    kind: ClassVar[str] = "erase"
    side: int = 8

    def __post_init__(self) -> None:
        require_at_least(1, side=self.side)

    def apply(self, picture: Pixels, rng: np.random.Generator) -> Pixels:
        y, x = (cast(int, rng.integers(n)) - self.side // 2 for n in picture.shape[1:])
        out = picture.copy()
        mean = np.rint(np.mean(picture, axis=(1, 2), keepdims=True)).astype(np.uint8)
        out[:, max(y, 0) : max(y + self.side, 0), max(x, 0) : max(x + self.side, 0)] = mean
        return out
