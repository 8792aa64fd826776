"""Frames of a sound with stretches of time and bands of frequency missing."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.data.augment.augment import AugmentConfig
from transduce.errors import UserError, require_at_least


@dataclass(frozen=True, kw_only=True)
class SpecMaskConfig(AugmentConfig):
    """Stretches of time and bands of frequency are 0, the mean.   Park et al. 2019, arXiv:1904.08779, sec. 2.

    times: stretches.
    frames: of each, at most; uniform from 0 on.
    share: of all frames that one stretch has at most.
    bands: how many.
    mels: of each, at most; uniform from 0 on.
    """

    kind: ClassVar[str] = "spec-mask"
    changes: ClassVar[str] = "frames"
    times: int = 2
    frames: int = 20
    share: float = 0.2
    bands: int = 2
    mels: int = 8

    def __post_init__(self) -> None:
        require_at_least(0, times=self.times, frames=self.frames, bands=self.bands, mels=self.mels)
        if not 0 <= self.share <= 1:
            raise UserError(f"share={self.share:g} must be from 0 to 1; use 0.2")

    def apply(self, picture: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        out = picture.copy()
        stretch = min(self.frames, int(self.share * len(out)))
        for part, count, most in ((out, self.times, stretch), (out.T, self.bands, min(self.mels, out.shape[1]))):
            for _ in range(count):
                size = int(rng.integers(most + 1))
                start = int(rng.integers(len(part) - size + 1))
                part[start : start + size] = 0
        return out
