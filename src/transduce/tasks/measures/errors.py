"""Word and character error rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval


def edits(expected: Sequence[str], output: Sequence[str]) -> int:
    """Returns the fewest parts to put in, take out or change, so that one becomes the other.   Levenshtein 1966."""
    row = list(range(len(output) + 1))
    for i, wanted in enumerate(expected, 1):
        before, row[0] = row[0], i
        for j, part in enumerate(output, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (wanted != part))
    return row[-1]


@dataclass(frozen=True, kw_only=True)
class WordErrorRate(Measure):
    """Words to put in, take out or change in all outputs, over the words of what was expected."""

    kind: ClassVar[str] = "word-error-rate"
    label: ClassVar[str] = "word error rate"
    sign: ClassVar[int] = -1
    of_what: ClassVar[str] = "text"

    def parts(self, text: str) -> Sequence[str]:
        """Returns what is counted of a text."""
        return text.split()

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        pairs = [[self.parts(normalize(outcome.form, x)) for x in (s.expected, s.output)] for s in outcome.samples]
        wrong = np.array([edits(*pair) for pair in pairs], dtype=np.float64)
        counts = np.array([len(expected) for expected, _ in pairs], dtype=np.float64)
        ends = interval(lambda rows: rate(wrong[rows], counts[rows]), len(pairs), draws)
        return Measured(rate(wrong, counts), *ends)

    def text(self, value: float) -> str:
        return f"{value:.2%}"


@dataclass(frozen=True, kw_only=True)
class CharacterErrorRate(WordErrorRate):
    """The same of characters, of which one between words is one; more of them in a row count once."""

    kind: ClassVar[str] = "character-error-rate"
    label: ClassVar[str] = "character error rate"

    def parts(self, text: str) -> Sequence[str]:
        return " ".join(text.split())


def rate(wrong: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    return float(wrong.sum() / max(counts.sum(), 1))
