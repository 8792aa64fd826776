"""The mean absolute error is in the unit of the data, and beside it stands that of the best constant."""

import numpy as np
import pytest

from transduce.tasks.measures.measure import Outcome, Sample
from transduce.tasks.measures.numbers import MeanAbsoluteError


def test_it_is_that_of_numpy_and_the_median_is_the_best_constant() -> None:
    expected, output = np.array([1.0, 2.0, 2.5, 40.0, -3.0]), np.array([1.5, 2.0, 0.5, 30.0, -3.25])
    samples = [Sample("x", str(a), str(b)) for a, b in zip(expected, output, strict=True)]
    found = MeanAbsoluteError().of(Outcome(1.0, 5, np.zeros((0, 2)), samples))
    assert found.value == pytest.approx(np.abs(expected - output).mean())
    assert found.baseline is not None
    assert found.baseline[1] == pytest.approx(min(np.abs(expected - c).mean() for c in np.arange(-5, 45, 0.25)))
    assert MeanAbsoluteError().sign == -1
    assert MeanAbsoluteError().of(Outcome(1.0, 0, np.zeros((0, 2)))).value == 0.0
