"""Actions: classes, or numbers between the ends that the training data shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from transduce.data.examples import Ragged
from transduce.data.readers.reader import Reader
from transduce.data.tracks import tracks
from transduce.errors import UserError, require_at_least

MOST = 10_000  # classes; what counts further is no action


@dataclass(frozen=True, kw_only=True)
class Actions(Reader):
    """A series of actions a row. Whole numbers from 0, one a step, are classes; other numbers are read as -1 to 1.

    bins: numbers are told apart in so many steps of equal width between their ends (None: they stay numbers).
    quantile: the ends are this quantile of each number and 1 minus it; what lies outside is brought to the end (0: the
        ends are the extremes, and what lies outside is refused).
    classes: how many there are (0: actions are numbers).
    low: the lower end of each number.
    high: the upper end of each number.
    """

    kind: ClassVar[str] = "actions"
    bins: int | None = None
    quantile: float = 0.0
    classes: int = 0
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_at_least(2, bins=self.bins)
        if not 0 <= self.quantile < 0.5:
            raise UserError(
                f"quantile={self.quantile} must be at least 0 and below 0.5; use 0.01, or 0 for the extremes"
            )

    @property
    def size(self) -> int:
        return self.classes or len(self.low)

    def fit(self, values: Sequence[Any], column: str) -> Self:
        x = np.concatenate(tracks(values, column))
        whole = x.shape[1] == 1 and (x == np.floor(x)).all() and x.min() >= 0 and x.max() < MOST
        if whole and self.bins is None:
            return replace(self, classes=int(x.max()) + 1)
        low, high = np.quantile(x, (self.quantile, 1 - self.quantile), axis=0)
        if (same := np.flatnonzero(low == high)).size:
            what = f"number {same[0] + 1} of the column `{column}` is always {low[same[0]]:g}"
            raise UserError(f"{what}, so there is nothing to learn of it; leave it out")
        return replace(self, low=tuple(low.tolist()), high=tuple(high.tolist()))

    def encode(self, values: Sequence[Any], column: str) -> Ragged:
        """Returns rows of (T,) int64 classes, or of (T, A) float32 from -1 to 1. Raises UserError, naming the row."""
        rows = tracks(values, column, 1 if self.classes else self.size)
        if self.classes:
            for row, x in enumerate(rows, 1):
                if (odd := x[(x < 0) | (x >= self.classes) | (x != np.floor(x))]).size:
                    what = f"row {row} of the column `{column}` has the action {odd[0]:g}"
                    raise UserError(f"{what}, but those of the training data are 0 to {self.classes - 1}; leave it out")
            return Ragged.of([x[:, 0] for x in rows], np.int64)
        return Ragged.of([self.scaled(x, column, row) for row, x in enumerate(rows, 1)], np.float32)

    def scaled(self, x: NDArray[np.float64], column: str, row: int) -> NDArray[np.float64]:
        """Returns (T, A) numbers from -1 to 1."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        y = 2 * (x - low) / (high - low) - 1
        slack = 1 + 1 / ((self.bins or 2) - 1)  # half a bin more
        if not self.quantile and (np.abs(y) > slack).any():
            step, number = np.argwhere(np.abs(y) > slack)[0].tolist()
            what = f"row {row} of the column `{column}` has {x[step, number]:g} at step {step + 1}"
            ends = f"{self.low[number]:g} to {self.high[number]:g}"
            raise UserError(f"{what}, outside of its range {ends}; set task.quantile=0.01 to bring such to the ends")
        return y.clip(-1, 1)

    def numbers(self, y: NDArray[Any]) -> NDArray[np.float32]:
        """Returns the (..., A) actions of numbers from -1 to 1."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return (low + (y.astype(np.float64).clip(-1, 1) + 1) / 2 * (high - low)).astype(np.float32)


def to_bins(y: NDArray[Any], bins: int) -> NDArray[np.int64]:
    """Returns the nearest of `bins` numbers that part -1 to 1 evenly, both ends among them; counted from 0."""
    return np.rint((y.astype(np.float64) + 1) / 2 * (bins - 1)).astype(np.int64)


def of_bins(index: NDArray[Any], bins: int) -> NDArray[np.float64]:
    """Returns the numbers that bins stand for: -1 of the first, 1 of the last."""
    return 2 * index.astype(np.float64) / (bins - 1) - 1
