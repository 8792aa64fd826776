"""Measures of moves: the share of them that a referee allows, by phase of the history.

Tested in tests/tasks/test_moves.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transduce.data.examples import Index
from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval


class Judged(NamedTuple):
    """The judgement of a referee on the words that a model would write after each beginning of a history of T words.

    legal: (T,) the likeliest word is allowed.
    mass: (T,) the share of the probability of all words that those have which are allowed.
    phases: words up to which the first phases go.
    unit: what a word is to people.
    """

    legal: NDArray[np.bool_]
    mass: NDArray[np.float64]
    phases: tuple[int, ...]
    unit: str


def share(outcome: Outcome, draws: int, value: Callable[[Judged], NDArray[np.float64]], last: int | None) -> Measured:
    """Returns the mean over words, up to the `last` of each history (None: all). The interval draws whole histories."""
    rows: list[Judged] = [sample.beside for sample in outcome.samples]
    sums = np.array([[value(row)[:last].sum(), len(value(row)[:last])] for row in rows], dtype=np.float64)

    def mean(some: Index | slice) -> float:
        total, count = sums[some].sum(0)
        return float(total / max(count, 1))

    note = ""
    if last is None and rows:
        borders = [0, *rows[0].phases, max(len(row.legal) for row in rows)]
        parts = [(low, high, np.concatenate([value(row)[low:high] for row in rows])) for low, high in pairwise(borders)]
        shown = [f"{low + 1} to {high}: {100 * part.mean():.1f} %" for low, high, part in parts if len(part)]
        note = f"by {rows[0].unit}, {', '.join(shown)}"
    return Measured(mean(slice(None)), *interval(mean, len(rows), draws), note=note)


@dataclass(frozen=True, kw_only=True)
class Legal(Measure):
    """The share of places of a history at which the likeliest word is one that the referee allows."""

    kind: ClassVar[str] = "legal"
    label: ClassVar[str] = "legal"
    of_what: ClassVar[str] = "moves"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        return share(outcome, draws, lambda row: row.legal.astype(np.float64), None)

    def text(self, value: float) -> str:
        return f"{100 * value:.2f} %"


@dataclass(frozen=True, kw_only=True)
class LegalAtFirst(Legal):
    """The same among the first words of each history, where much is known by heart.

    words: so many.
    """

    kind: ClassVar[str] = "legal-at-first"
    label: ClassVar[str] = "legal at first"
    words: int = 12

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        first = share(outcome, draws, lambda row: row.legal.astype(np.float64), self.words)
        return first._replace(note=f"the first {self.words}")


@dataclass(frozen=True, kw_only=True)
class LegalMass(Legal):
    """The share of the probability of the next word that is on words which the referee allows."""

    kind: ClassVar[str] = "legal-mass"
    label: ClassVar[str] = "legal mass"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        return share(outcome, draws, lambda row: row.mass, None)
