"""Correlations are those of SciPy, ties included."""

import numpy as np
import pytest

from transduce.tasks.measures.correlation import Pearson, Spearman, ranks
from transduce.tasks.measures.measure import Outcome, Sample


def test_they_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 6, 40).astype(float), draw.normal(size=40)
    assert ranks(x).tolist() == stats.rankdata(x).tolist()
    samples = [Sample("", f"{a:.9g}", f"{b:.9g}", b) for a, b in zip(x, y, strict=True)]
    outcome = Outcome(0.0, 1, np.zeros((0, 2)), samples)
    assert Spearman().of(outcome).value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert Pearson().of(outcome, 50).value == pytest.approx(stats.pearsonr(x, y).statistic)


def test_equal_numbers_correlate_with_nothing() -> None:
    outcome = Outcome(0.0, 1, np.zeros((0, 2)), [Sample("", "1", "2", 2.0), Sample("", "1", "3", 3.0)])
    assert Spearman().of(outcome, 20).value == 0.0
    assert Pearson().of(Outcome(0.0, 1, np.zeros((0, 2)))).value == 0.0
