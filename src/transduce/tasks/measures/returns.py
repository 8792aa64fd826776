"""Measures of episodes that a model has played."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval


def mean(outcome: Outcome, draws: int, value: Callable[[Any], float]) -> Measured:
    """Returns the mean over episodes of a value of what was played."""
    values = np.array([value(sample.beside) for sample in outcome.samples], dtype=np.float64)
    return Measured(
        float(values.mean()), *interval(lambda rows: float(values[rows].mean()), len(values), draws),
        means=bool(np.isfinite(values).all()),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MeanReturn(Measure):
    """The mean return of episodes."""

    kind: ClassVar[str] = "mean-return"
    label: ClassVar[str] = "mean return"
    of_what: ClassVar[str] = "episode"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        return mean(outcome, draws, lambda played: played.returned)

    def text(self, value: float) -> str:
        return f"{value:.2f}"


@dataclass(frozen=True, kw_only=True)
class Reached(Measure):
    """The share of episodes in which the goal is reached."""

    kind: ClassVar[str] = "reached"
    label: ClassVar[str] = "reached"
    of_what: ClassVar[str] = "episode"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        return mean(outcome, draws, lambda played: float(bool(played.reached)))
