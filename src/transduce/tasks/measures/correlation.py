"""Correlations of predicted with expected numbers."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval

Floats = NDArray[np.float64]


def pearson(x: Floats, y: Floats) -> float:
    """Returns the correlation of two lists of numbers; 0 where all of one are equal."""
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return 0.0
    return float(np.clip(np.corrcoef(x, y)[0, 1], -1.0, 1.0))


def ranks(x: Floats) -> Floats:
    """Returns the rank of each number; equal ones share the mean of theirs."""
    values: Any = np.unique(x, return_inverse=True, return_counts=True)
    _, place, counts = values
    ends = counts.cumsum()
    return (ends - (counts - 1) / 2)[place].astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Correlation(Measure):
    """A correlation of predictions with what was expected, -1 to 1."""

    of_what: ClassVar[str] = "number"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        x = np.array([float(sample.output) for sample in outcome.samples])
        y = np.array([float(sample.expected) for sample in outcome.samples])
        ends = interval(lambda rows: self.value(x[rows], y[rows]), len(x), draws)
        return Measured(self.value(x, y), *ends, baseline=("always answering the mean", 0.0))

    def value(self, x: Floats, y: Floats) -> float:
        raise AssertionError("a kind of Correlation defines value")


@dataclass(frozen=True, kw_only=True)
class Spearman(Correlation):
    """The correlation of ranks.   Spearman 1904."""

    kind: ClassVar[str] = "spearman"
    label: ClassVar[str] = "Spearman"

    def value(self, x: Floats, y: Floats) -> float:
        return pearson(ranks(x), ranks(y))


@dataclass(frozen=True, kw_only=True)
class Pearson(Correlation):
    """The correlation of numbers."""

    kind: ClassVar[str] = "pearson"
    label: ClassVar[str] = "Pearson"

    def value(self, x: Floats, y: Floats) -> float:
        return pearson(x, y)
