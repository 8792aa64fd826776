"""The contract of augmentation: a picture of the training data, otherwise in each epoch.

What happens to an example is a function of (seed, epoch, example), like the order, so a run that was stopped goes on
bit for bit, whatever the number of workers.

Tested in tests/data/test_augment.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.config import Part

Pixels = NDArray[np.uint8]  # (C, H, W)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Part):
    """The choice of a change. `apply` draws from the generator that it is given, and from nothing else."""

    folder: ClassVar[str] = "transduce.data.augment"

    def apply(self, picture: Pixels, rng: np.random.Generator) -> Pixels:
        """Returns another picture (C, H, W) of the same size; the one that is given stays as it is."""
        raise AssertionError("a kind of AugmentConfig defines apply")


def augmented(picture: Pixels, changes: Sequence[AugmentConfig], epoch: int, example: int) -> Pixels:
    """Returns a picture with all changes, in order. epoch: a number drawn from the seed for each of them."""
    rng = np.random.default_rng((epoch, example))
    for change in changes:
        picture = change.apply(picture, rng)
    return picture
