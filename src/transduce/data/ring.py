"""The data set of points that needs no file: a ring of Gaussian modes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from transduce.data.columns import Columns
from transduce.data.source import DataConfig
from transduce.errors import UserError, require_at_least

POINT, LABEL = "point", "label"


@dataclass(frozen=True, kw_only=True)
class Ring(DataConfig):
    """Points of the plane around `modes` places on a circle, made from a seed; the label is the number of the place.

    seed: of the points.
    modes: places on the circle.
    radius: of the circle.
    deviation: of the points around their place, in each direction.
    train_size: points to train on.
    valid_size: points to validate on.
    """

    kind: ClassVar[str] = "ring"
    task: ClassVar[str] = "points"
    seed: int = 0
    modes: int = 8
    radius: float = 2.0
    deviation: float = 0.15
    train_size: int = 10_000
    valid_size: int = 2000

    def __post_init__(self) -> None:
        require_at_least(2, modes=self.modes, train_size=self.train_size)
        require_at_least(1, valid_size=self.valid_size)
        require_at_least(0, seed=self.seed)
        if not (0 < self.radius < 1e6 and 0 <= self.deviation < 1e6):
            raise UserError(f"radius={self.radius} and deviation={self.deviation} make no ring; use 2 and 0.15")

    @property
    def gives(self) -> tuple[str, ...]:
        return POINT, LABEL

    def files_read(self) -> list[Path]:
        """Returns no files: the points follow from these numbers."""
        return []

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns train and valid."""
        return {"train": self.split(0, self.train_size), "valid": self.split(1, self.valid_size)}

    def split(self, number: int, size: int) -> Columns:
        rng = np.random.default_rng((self.seed, number))
        labels = rng.integers(self.modes, size=size)
        angle = 2 * math.pi * labels / self.modes
        places = self.radius * np.stack([np.cos(angle), np.sin(angle)], 1)
        points = places + self.deviation * rng.standard_normal((size, 2))
        return Columns({POINT: [tuple(row) for row in points.tolist()], LABEL: labels.tolist()})
