"""The contract of augmentation: a picture or a sound of the training data, otherwise in each epoch.

What happens to an example is a function of (seed, epoch, example), like the order, so a run that was stopped goes on
bit for bit, whatever the number of workers.

Tested in tests/data/test_augment.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.config import Part
from transduce.errors import UserError

Pixels = NDArray[np.uint8]  # (C, H, W)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Part):
    """The choice of a change. `apply` draws from the generator that it is given, and from nothing else."""

    folder: ClassVar[str] = "transduce.data.augment"
    changes: ClassVar[str] = "pictures"  # or the frames of a sound, (T, F) float32

    def apply(self, picture: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Returns another picture (C, H, W), or other frames, of the same size; what is given stays as it is."""
        raise AssertionError("a kind of AugmentConfig defines apply")


def augmented(
    picture: NDArray[Any], changes: Sequence[AugmentConfig], epoch: int, example: int
) -> NDArray[Any]:  # fmt: skip
    """Returns a picture or frames with all changes, in order. epoch: a number drawn from the seed for each of them."""
    rng = np.random.default_rng((epoch, example))
    for change in changes:
        picture = change.apply(picture, rng)
    return picture


def require_changes(changes: Sequence[AugmentConfig], what: str) -> None:
    """Raises UserError for a change of something else. what: pictures, or frames."""
    for change in changes:
        if change.changes != what:
            raise UserError(f"task.augment={change.kind} changes {change.changes}, but here are {what}; leave it out")
