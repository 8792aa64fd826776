"""Tags: one of a few names for each word of a row."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import numpy as np

from transduce.data.examples import Ragged
from transduce.data.readers.labels import Labels, order
from transduce.data.readers.reader import Reader
from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Tags(Reader):
    """Names of the classes of words.

    names: in the order of the classes; [] until it is fitted, when they are sorted, numbers by their value.
    """

    kind: ClassVar[str] = "tags"
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return len(self.names)

    def fit(self, values: Sequence[Any], column: str) -> Self:
        names = sorted({name for value in values for name in listed(value)}, key=order)
        if len(names) < 2:
            only = f"the only one is {names[0]!r}" if names else "there is none"
            raise UserError(f"the column `{column}` of train has no two different tags ({only}); give data with both")
        if broken := [name for name in names if not name or any(c.isspace() for c in name)]:
            raise UserError(f"a tag of the column `{column}` is {broken[0]!r}; a tag has no blank in it, so rename it")
        return replace(self, names=tuple(names))

    def encode(self, values: Sequence[Any], column: str) -> Ragged:
        """Returns rows of (words,) int32."""
        rows = [listed(value) for value in values]
        flat = Labels(names=self.names).encode([name for row in rows for name in row], column)
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        return Ragged.joined([flat.astype(np.int32)], [lengths])


def listed(value: Any) -> tuple[str, ...]:
    """Returns the words or tags of a cell: a list, one written as JSON, or a text, which is parted at blanks."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, tuple | list):
        return tuple(one if isinstance(one, str) else str(one) for one in cast("Sequence[Any]", value))
    return tuple(str(value).split())
