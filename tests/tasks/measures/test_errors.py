"""Word and character error rates: by hand, and against another way of counting edits."""

from functools import cache

import numpy as np
import pytest

from transduce.tasks.measures.errors import CharacterErrorRate, WordErrorRate, edits
from transduce.tasks.measures.measure import Outcome, Sample

PARTS = np.array([[1.0, 1.0]])


def outcome(*pairs: tuple[str, str]) -> Outcome:
    return Outcome(1.0, 1, PARTS, [Sample("", expected, output) for expected, output in pairs])


def recursive(a: str, b: str) -> int:
    """Levenshtein's definition as it stands."""

    @cache
    def of(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return of(len(a), len(b))


def test_edits_are_those_of_the_definition() -> None:
    draw = np.random.default_rng(0)
    for _ in range(60):
        a, b = ("".join(draw.choice(list("abc"), draw.integers(0, 9))) for _ in range(2))
        assert edits(a, b) == recursive(a, b)


def test_rates_are_of_all_words_together() -> None:
    rows = outcome(("one two three", "one three"), ("four", "four five six"), ("seven", "seven"))
    assert WordErrorRate().of(rows).value == pytest.approx(3 / 5)
    assert WordErrorRate().text(0.6) == "60.00%"
    assert CharacterErrorRate().of(outcome(("ab  c", "ab d"))).value == pytest.approx(1 / 4)
    assert WordErrorRate().of(outcome(("", ""))).value == 0
    assert WordErrorRate().of(outcome(("", "a b"))).value == 2
    drawn = WordErrorRate().of(rows, 200)
    assert drawn.low is not None
    assert drawn.high is not None
    assert 0 <= drawn.low <= 3 / 5 <= drawn.high
