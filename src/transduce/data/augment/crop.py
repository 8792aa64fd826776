"""A picture that is moved a little."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from transduce.data.augment.augment import AugmentConfig, Pixels
from transduce.errors import require_at_least


@dataclass(frozen=True, kw_only=True)
class CropConfig(AugmentConfig):
    """A part as large as the picture, out of the picture with a border.   He et al. 2015, arXiv:1512.03385, sec. 4.2.

    border: pixels around the picture; it moves by at most so many.
    fill: what the border holds: "black", or what is next to it at the "edge".
    """

    kind: ClassVar[str] = "crop"
    border: int = 4
    fill: Literal["black", "edge"] = "black"

    def __post_init__(self) -> None:
        require_at_least(1, border=self.border)

    def apply(self, picture: Pixels, rng: np.random.Generator) -> Pixels:
        n = self.border
        wide = np.pad(picture, ((0, 0), (n, n), (n, n)), "constant" if self.fill == "black" else "edge")
        top, left = rng.integers(2 * n + 1, size=2)
        return wide[:, top : top + picture.shape[1], left : left + picture.shape[2]]
