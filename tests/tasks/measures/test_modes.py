"""Where points are drawn, counted by hand."""

import numpy as np

from transduce.tasks.measures.measure import Outcome, Sample
from transduce.tasks.measures.modes import NearModes, RarestMode


def test_what_is_near_and_what_is_rare() -> None:
    data = [((0.0, 0.0), "a"), ((10.0, 0.0), "b"), ((0.0, 10.0), "c"), ((0.0, 0.0), "a")]
    drawn = [(0.1, 0.0), (10.0, 0.5), (0.0, 9.9), (0.3, 0.0)]
    samples = [Sample("", "", "", one, row) for one, row in zip(drawn, data, strict=True)]
    outcome = Outcome(0.0, 1, np.zeros((1, 2)), samples)
    assert NearModes().of(outcome).value == 0.75
    assert NearModes(near=0.6).of(outcome).value == 1.0
    assert RarestMode().of(outcome).value == 0.25
    assert "50.00 %" in RarestMode().of(outcome).note
