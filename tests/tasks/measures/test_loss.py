"""Perplexity and bits per byte follow from the loss, with their intervals."""

import math

import numpy as np
import pytest

from transduce.tasks.measures.bleu import Bleu, bleu_of, resampled
from transduce.tasks.measures.exact import ExactMatch
from transduce.tasks.measures.loss import BitsPerByte, LossMeasure, Perplexity
from transduce.tasks.measures.measure import Outcome, Sample

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


def test_the_bleu_of_rows_that_are_drawn_is_that_of_their_texts() -> None:
    outputs = ["the cat sat on the mat", "a dog ran over the road", "it is a house of stone"]
    references = ["the cat sat on a mat", "a dog ran over the road", "that is a small house of stone"]
    of = resampled(outputs, references, "13a")
    for rows in ([0, 1, 2], [0, 0, 2], [1, 1, 1], [2]):
        expected = bleu_of([outputs[i] for i in rows], [references[i] for i in rows])[0]
        assert of(np.array(rows)) == pytest.approx(expected)


def test_intervals_hold_the_value() -> None:
    texts = [f"the cat number {i} sat on the mat" for i in range(40)]
    samples = [Sample("x", text, text if i % 3 else text.replace("sat", "stood")) for i, text in enumerate(texts)]
    outcome = Outcome(1.0, 40, PARTS, samples, texts)
    for measure in (ExactMatch(), Bleu()):
        found = measure.of(outcome, draws=200)
        assert found.low is not None
        assert found.high is not None
        assert found.low < found.value < found.high
        assert measure.of(outcome).low is None
