"""Perplexity and bits per byte follow from the loss, with their intervals."""

import math

import numpy as np
import pytest

from transduce.tasks.measures.loss import BitsPerByte, LossMeasure, Perplexity
from transduce.tasks.measures.measure import Outcome

PARTS = np.array([[10.0, 4.0], [9.0, 6.0], [1.0, 1.0]])


def test_they_follow_from_the_loss() -> None:
    loss = PARTS[:, 0].sum() / PARTS[:, 1].sum()
    outcome = Outcome(loss, 11, PARTS, bytes=33)
    assert LossMeasure().of(outcome).value == loss
    assert Perplexity().of(outcome).value == pytest.approx(math.exp(loss))
    assert BitsPerByte().of(outcome).value == pytest.approx(20 / math.log(2) / 33)
    assert BitsPerByte().of(Outcome(loss, 11, PARTS)).means is False
    found = LossMeasure().of(outcome, draws=500)
    assert found.low is not None
    assert found.high is not None
    assert 1.0 <= found.low < loss < found.high <= 2.5  # the losses of the batches
    assert Perplexity().of(outcome, draws=500).low == pytest.approx(math.exp(found.low))
