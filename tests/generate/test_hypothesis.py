import numpy as np
import pytest

from transduce.generate.hypothesis import Hypothesis, penalty


def test_the_penalty_is_the_formula_of_the_paper_for_one_and_for_many():
    assert penalty(1, 0.6) == 1.0
    assert penalty(7, 1.0) == 2.0
    assert penalty(19, -0.5) == pytest.approx(0.5)
    np.testing.assert_array_equal(penalty(np.array([1, 7]), 2.0), [1.0, 4.0])


def test_the_end_counts_where_the_model_gave_it():
    assert Hypothesis([5, 6], -1.0, finished=True).length == 3
    assert Hypothesis([5, 6], -1.0, finished=False).length == 2
    assert Hypothesis([5, 6], -1.0, finished=True, stopped=True).length == 2
    assert Hypothesis([4] * 6, -3.0, finished=True).normalised(1.0) == -1.5
