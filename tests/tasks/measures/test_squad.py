"""The official rules of SQuAD, on values that evaluate-v2.0.py gives."""

import numpy as np
import pytest

from transduce.tasks.measures.measure import Outcome, Sample
from transduce.tasks.measures.squad import AnswerExact, AnswerF1, Right, overlap, plain, same


@pytest.mark.parametrize(
    ("answer", "right", "exact", "f1"),
    [
        ("The Silk Road.", "silk road", 1, 1),
        ("a merchant's ships", "merchants ships", 1, 1),
        ("in the Silk Road", "Silk Road", 0, 0.8),
        ("road road", "road", 0, 2 / 3),
        ("", "", 1, 1),
        ("", "x", 0, 0),
        ("the", "", 1, 1),
        ("theatre", "atre", 0, 0),
        ("30–60%", "30–60", 1, 1),
    ],
)
def test_values(answer: str, right: str, exact: float, f1: float) -> None:
    assert same(answer, right) == exact
    assert overlap(answer, right) == pytest.approx(f1)


def test_plain() -> None:
    assert plain("  An  apple, a day: the \n doctor ") == "apple day doctor"


def test_the_best_of_several_right_answers_counts() -> None:
    rights = [Right(("x y", "y"), "y"), Right((), "z")]
    samples = [Sample("", "", "y", None, rights[0]), Sample("", "", "", None, rights[1])]
    outcome = Outcome(0.0, 1, np.zeros((0, 2)), samples)
    assert AnswerF1().of(outcome).value == 1.0
    measured = AnswerExact().of(outcome, 50)
    assert measured.value == 1.0
    assert measured.baseline == ("the sentence with most words of the question", 0.5)
    assert measured.low == 1.0
