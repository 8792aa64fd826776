"""Measures of which of two answers is preferred.

Tested in tests/tasks/test_reward.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval


@dataclass(frozen=True, kw_only=True)
class PairAccuracy(Measure):
    """The share of pairs in which the answer that is preferred gets the higher reward."""

    kind: ClassVar[str] = "pair-accuracy"
    label: ClassVar[str] = "pair accuracy"
    of_what: ClassVar[str] = "preference"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        right = np.array([sample.output == sample.expected for sample in outcome.samples])
        ends = interval(lambda rows: float(right[rows].mean()), len(right), draws)
        baseline = None
        if len(outcome.references) == len(outcome.samples):  # the other answers, of the whole split
            lengths = [
                (len(sample.expected), len(str(other)))
                for sample, other in zip(outcome.samples, outcome.references, strict=True)
            ]
            share = sum((a > b) + 0.5 * (a == b) for a, b in lengths) / max(len(lengths), 1)
            baseline = ("taking the longer answer", share)
        return Measured(float(right.sum() / max(len(right), 1)), *ends, baseline=baseline)

    def text(self, value: float) -> str:
        return f"{value:.2%}"
