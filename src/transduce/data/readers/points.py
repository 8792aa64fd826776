"""Points: as many numbers in every row, brought to mean 0 and deviation 1."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from transduce.data.readers.reader import Reader
from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Points(Reader):
    """A row of numbers: a list, or text with spaces or commas between. Read as (x - mean) / deviation.

    mean: of each number, over the training data.
    deviation: the standard deviation of each; 1 where all are equal.
    """

    kind: ClassVar[str] = "points"
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        return len(self.mean)

    def fit(self, values: Sequence[Any], column: str) -> Self:
        x = self.plain(values, column)
        spans = [span or 1.0 for span in x.std(0).tolist()]
        return replace(self, mean=tuple(x.mean(0).tolist()), deviation=tuple(spans))

    def plain(self, values: Sequence[Any], column: str) -> NDArray[np.float64]:
        """Returns (rows, size), in the unit of the data. Raises UserError, naming the row."""
        rows, size = list[list[float]](), self.size
        for number, value in enumerate(values, 1):
            try:
                row = [float(x) for x in (value.replace(",", " ").split() if isinstance(value, str) else value)]
            except (TypeError, ValueError):
                row = []
            if not row or not np.isfinite(row).all():
                what = f"row {number} of the column `{column}` is {str(value)[:40]!r}, which is no row of numbers"
                raise UserError(f"{what}; write it as 0.5 -1.25, or as a list")
            size = size or len(row)
            if len(row) != size:
                what = f"row {number} of the column `{column}` has {len(row)} numbers, but there are {size} elsewhere"
                raise UserError(f"{what}; correct or remove it")
            rows.append(row)
        return np.array(rows, dtype=np.float64).reshape(len(rows), size)

    def encode(self, values: Sequence[Any], column: str) -> NDArray[np.float32]:
        """Returns (rows, size) float32."""
        return ((self.plain(values, column) - self.mean) / self.deviation).astype(np.float32)

    def decode(self, numbers: NDArray[np.float32]) -> list[tuple[float, ...]]:
        """Returns what (rows, size) predictions stand for."""
        out = numbers.astype(np.float64) * self.deviation + self.mean
        return [tuple(row) for row in out.tolist()]
