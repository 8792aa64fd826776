"""Exact match, and what it would be without a model."""

import numpy as np
import pytest

from transduce.tasks.measures.exact import ExactMatch
from transduce.tasks.measures.measure import Outcome, Sample

NONE = np.zeros((0, 2))


@pytest.mark.parametrize(
    ("rows", "share", "baseline"),
    [
        ([("x", "a", "a"), ("y", "a", "b")], 0.5, ("always answering 'a'", 1.0)),
        ([("x", "x", "x"), ("y", "y", "b"), ("z", "a", "a")], 2 / 3, ("copying the source", 2 / 3)),
        ([("x", "two words", "two words")], 1.0, None),
        ([("x", "\u00e9", "e\u0301")], 1.0, ("always answering 'é'", 1.0)),
        ([], 0.0, None),
    ],
)
def test_it_is_the_share_of_equal_texts(rows: list, share: float, baseline: tuple[str, float] | None) -> None:
    found = ExactMatch().of(Outcome(1.0, 1, NONE, [Sample(*row) for row in rows]))
    assert found.value == pytest.approx(share)
    assert found.baseline == (baseline if baseline is None else (baseline[0], pytest.approx(baseline[1])))
