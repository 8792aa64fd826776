"""Numbers, brought to mean 0 and deviation 1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from transduce.data.readers.reader import Reader
from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Numbers(Reader):
    """One number a row, read as (x - mean) / deviation.

    mean: of the training data.
    deviation: the standard deviation of the training data; 1 where all numbers are equal.
    """

    kind: ClassVar[str] = "numbers"
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def size(self) -> int:
        return 1

    def fit(self, values: Sequence[Any], column: str) -> Self:
        numbers = plain(values, column)
        return replace(self, mean=float(numbers.mean()), deviation=float(numbers.std()) or 1.0)

    def encode(self, values: Sequence[Any], column: str) -> NDArray[np.float32]:
        """Returns (rows, 1) float32."""
        return ((plain(values, column) - self.mean) / self.deviation).astype(np.float32)[:, None]

    def decode(self, numbers: NDArray[np.float32]) -> list[float]:
        """Returns what (rows, 1) predictions stand for."""
        return (numbers[:, 0].astype(np.float64) * self.deviation + self.mean).tolist()


def plain(values: Sequence[Any], column: str) -> NDArray[np.float64]:
    """Returns values as numbers. Raises UserError for one that is not."""
    out = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            out[row] = math.nan if isinstance(value, bool) or value is None else float(value)
        except (ValueError, TypeError):
            out[row] = math.nan
        if not math.isfinite(out[row]):
            raise UserError(
                f"row {row + 1} of the column `{column}` is {value!r}, which is not a number; correct or remove it"
            )
    return out
