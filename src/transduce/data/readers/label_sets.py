"""Sets of labels: any number of a few names for each row."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from transduce.data.readers.labels import Labels, order
from transduce.data.readers.reader import Reader
from transduce.errors import UserError

MARKS = {"comma": ",", "semicolon": ";", "bar": "|", "space": " "}


@dataclass(frozen=True, kw_only=True)
class LabelSets(Reader):
    """Names of classes, of which a row has none, one or several.

    names: in the order of the classes; [] until it is fitted, when they are sorted, numbers by their value.
    mark: what parts labels in a cell that is text.
    """

    kind: ClassVar[str] = "label-sets"
    names: tuple[str, ...] = ()
    mark: Literal["comma", "semicolon", "bar", "space"] = "comma"

    @property
    def size(self) -> int:
        return len(self.names)

    def fit(self, values: Sequence[Any], column: str) -> Self:
        names = sorted({name for value in values for name in self.labels(value)}, key=order)
        if not names:
            raise UserError(f"no row of the column `{column}` of train has a label; check data.columns.{column}")
        return replace(self, names=tuple(names))

    def labels(self, value: Any) -> tuple[str, ...]:
        """Returns the labels of a cell, each once: of a list, one written as JSON, or a text with marks between."""
        if isinstance(value, str) and value.startswith("["):
            with suppress(ValueError):
                value = json.loads(value)
        if isinstance(value, str):
            value = value.split(MARKS[self.mark])
        parts = cast("Sequence[Any]", value) if isinstance(value, list | tuple) else (value,)
        names = (Labels().name_of(one) for one in parts)
        return tuple(dict.fromkeys(name for name in names if name))

    def encode(self, values: Sequence[Any], column: str) -> NDArray[np.float32]:
        """Returns (rows, classes) float32, 1 where a row has a label."""
        rows, out = [self.labels(value) for value in values], np.zeros((len(values), self.size), dtype=np.float32)
        flat = Labels(names=self.names).encode([name for row in rows for name in row], column)
        out[np.repeat(np.arange(len(rows)), [len(row) for row in rows]), flat] = 1.0
        return out
