"""Labels: one of a few names."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from transduce.data.examples import Index
from transduce.data.readers.reader import Reader
from transduce.errors import UserError

SHOWN = 10
FEW, FRACTIONS = 3, 20  # different numbers up to which they are classes however few rows, or with fractions


@dataclass(frozen=True, kw_only=True)
class Labels(Reader):
    """Names of classes. A value that is no text, such as a number in JSON, is the name it has in JSON.

    names: in the order of the classes; [] until it is fitted, when they are sorted, numbers by their value.
    end: a label ends before the first of these marks (None: it is taken as it is).
    """

    kind: ClassVar[str] = "labels"
    names: tuple[str, ...] = ()
    end: str | None = None

    @property
    def size(self) -> int:
        return len(self.names)

    def fit(self, values: Sequence[Any], column: str) -> Self:
        names = sorted({self.name_of(value) for value in values}, key=order)
        if len(names) < 2:
            only = f"the only one is {names[0]!r}" if names else "there is no row"
            raise UserError(f"the column `{column}` of train has no two different labels ({only}); give data with both")
        return replace(self, names=tuple(names))

    @property
    def numeric(self) -> bool:
        """Says whether all names are numbers."""
        return all(math.isfinite(order(name)[0]) for name in self.names)

    def scattered(self, rows: int) -> bool:
        """Says whether the names are rather measurements: most rows have a number of their own, or many a fraction."""
        own = self.size > FEW and 2 * self.size > rows
        fractions = self.size > FRACTIONS and any(not order(name)[0].is_integer() for name in self.names)
        return self.numeric and (own or fractions)

    def name_of(self, value: Any) -> str:
        """Returns a label as text."""
        if isinstance(value, bool):
            return str(value).lower()
        name = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
        return name.partition(self.end)[0].strip() if self.end else name

    def encode(self, values: Sequence[Any], column: str) -> Index:
        """Returns (rows,) int64."""
        numbers = {name: i for i, name in enumerate(self.names)}
        classes = [numbers.get(self.name_of(value), -1) for value in values]
        if -1 in classes:
            value = self.name_of(values[classes.index(-1)])
            close = difflib.get_close_matches(value, self.names, n=1)
            listed = ", ".join(self.names[:SHOWN]) + (", ..." if len(self.names) > SHOWN else "")
            way = f"did you mean {close[0]!r}?" if close else f"the labels are {listed}"
            raise UserError(f"the label {value!r} in the column `{column}` was not there in training; {way}")
        return np.array(classes, dtype=np.int64)


def order(name: str) -> tuple[float, str]:
    """Returns by what labels are sorted: numbers by their value, then names."""
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name
