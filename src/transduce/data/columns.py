"""One split of a data set: named columns of equally many rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What holds text, by name; a task gives other columns names of its own.
TEXT, STREAM, SOURCE, TARGET = "text", "stream", "source", "target"
CONTEXT, QUESTION, PASSAGE, OTHER, NEGATIVE = "context", "question", "passage", "other", "negative"
# What may hold a list in each row.
WORDS, TAGS, LABELS, ANSWERS = "words", "tags", "labels", "answers"
LISTS = frozenset({WORDS, TAGS, LABELS, ANSWERS})
# What a task may read and data need not have; a row that lacks it has "" there.
SPARSE = frozenset({NEGATIVE})


def required(names: Sequence[str]) -> list[str]:
    """Returns the columns that data must have, of those that a task reads."""
    return [name for name in names if name not in SPARSE]


@dataclass(frozen=True)
class Columns:
    """Row i is the i-th value of every column.

    values: of each column, by its name; the first is what is given, those behind it are what is asked for.
    group: so many consecutive rows stay together, such as 2 for pairs of answers of which one is preferred.
    sources: of a mixture, how many rows each source has, by its name; they lie one behind the other.
    """

    values: Mapping[str, Sequence[Any]]
    group: int = 1
    sources: Mapping[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.values.items()}
        assert len(set(lengths.values())) == 1, f"columns of different lengths: {lengths}"
        assert len(self) % self.group == 0, f"{len(self)} rows are not groups of {self.group}"

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self.values[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def given(self) -> Sequence[Any]:
        """Returns the first column."""
        return next(iter(self.values.values()))

    def take(self, rows: Sequence[int]) -> "Columns":
        """Returns the rows of these numbers, in that order."""
        return Columns({name: [column[i] for i in rows] for name, column in self.values.items()}, self.group)
