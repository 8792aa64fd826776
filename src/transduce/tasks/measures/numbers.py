"""Measures of predicted numbers."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval


@dataclass(frozen=True, kw_only=True)
class MeanAbsoluteError(Measure):
    """The mean of |prediction - expected|, in the unit of the data."""

    kind: ClassVar[str] = "mae"
    label: ClassVar[str] = "mean absolute error"
    sign: ClassVar[int] = -1
    of_what: ClassVar[str] = "number"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        expected = np.array([float(sample.expected) for sample in outcome.samples])
        errors = np.abs(np.array([float(sample.output) for sample in outcome.samples]) - expected)
        middle = float(np.median(expected)) if len(expected) else 0.0
        constant = float(np.abs(expected - middle).mean()) if len(expected) else 0.0
        ends = interval(lambda rows: float(errors[rows].mean()), len(errors), draws)
        value = float(errors.mean()) if len(errors) else 0.0
        return Measured(value, *ends, baseline=(f"always answering {middle:g}, the median", constant))

    def text(self, value: float) -> str:
        return f"{value:.4g}"
