"""A picture as in a mirror."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transduce.data.augment.augment import AugmentConfig, Pixels
from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class FlipConfig(AugmentConfig):
    """Left and right change places, for photos of which the mirror image is one too; not for letters or digits.

    probability: that they do.
    """

    kind: ClassVar[str] = "flip"
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise UserError(f"probability={self.probability} must be above 0 and at most 1; use 0.5")

    def apply(self, picture: Pixels, rng: np.random.Generator) -> Pixels:
        return picture[:, :, ::-1] if rng.random() < self.probability else picture
