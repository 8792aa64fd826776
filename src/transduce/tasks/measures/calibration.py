"""The measure of probabilities that are to mean what they say.

Tested in tests/tasks/test_windows.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.data.examples import Index
from transduce.tasks.measures.measure import Measure, Measured, Outcome, Sample, interval

BINS = 15  # as Guo et al. have them


@dataclass(frozen=True, kw_only=True)
class CalibrationError(Measure):
    """Expected calibration error: sum_m |B_m| / n |accuracy(B_m) - confidence(B_m)|, 0 to 1.   Guo et al. 2017, eq. 5.

    B_m: the rows whose predicted class has a probability in the m-th of 15 equal parts of 0 to 1. Of few rows it is
    above 0 also where every probability is right.
    """

    kind: ClassVar[str] = "calibration-error"
    label: ClassVar[str] = "calibration error"
    sign: ClassVar[int] = -1
    of_what: ClassVar[str] = "class"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        sure, right = certainty(outcome.samples)

        def value(rows: Index) -> float:
            return expected_error(sure[rows], right[rows])

        return Measured(value(np.arange(len(sure))), *interval(value, len(sure), draws))


def certainty(samples: Sequence[Sample]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the probability of the predicted class of each row, and 1 where it is the expected one, else 0."""
    sure = [float(sample.prediction.probability) for sample in samples]
    right = [float(sample.output == sample.expected) for sample in samples]
    return np.array(sure), np.array(right)


def expected_error(sure: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Returns the expected calibration error of rows. sure, right: see `certainty`."""
    part = part_of(sure)
    gaps = np.bincount(part, weights=right - sure, minlength=BINS)  # |B_m| (accuracy - confidence)
    return float(np.abs(gaps).sum() / max(len(sure), 1))


def reliability(sure: NDArray[np.float64], right: NDArray[np.float64]) -> list[tuple[float, float, int]]:
    """Returns, for each part that has rows, their mean probability, the share that is right, and their number."""
    part = part_of(sure)
    own = [(sure[part == m], right[part == m]) for m in range(BINS)]
    return [(float(one.mean()), float(hits.mean()), len(one)) for one, hits in own if len(one)]


def part_of(sure: NDArray[np.float64]) -> Index:
    """Returns the part, 0 to 14, in which each probability lies; a border belongs to the part below it."""
    return np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
