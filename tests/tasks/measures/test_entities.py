"""Entities as conlleval counts them."""

import numpy as np
import pytest

from transduce.tasks.measures.entities import EntityF1, TagAccuracy, prefixed, spans
from transduce.tasks.measures.measure import Outcome, Sample


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-a I-a O", [("a", 1, 3)]),
        ("B-a B-a", [("a", 0, 1), ("a", 1, 2)]),
        ("I-a I-a I-b", [("a", 0, 2), ("b", 2, 3)]),  # begun by I, as in IOB1
        ("O I-a B-a I-b", [("a", 1, 2), ("a", 2, 3), ("b", 3, 4)]),
        ("B-a I-a E-a S-b", [("a", 0, 3), ("b", 3, 4)]),
        ("B-a I-a L-a U-b O", [("a", 0, 3), ("b", 3, 4)]),
        ("E-a E-a S-a I-a", [("a", 0, 1), ("a", 1, 2), ("a", 2, 3), ("a", 3, 4)]),
        ("B-x-y I-x-y", [("x-y", 0, 2)]),
        ("NN VB", []),
        ("", []),
    ],
)
def test_spans(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert spans(tags.split()) == expected
    assert prefixed(tags.split()) == bool(expected)


def outcome(*rows: tuple[str, str]) -> Outcome:
    return Outcome(0.0, 1, np.zeros((0, 2)), [Sample("", expected, output) for expected, output in rows])


def test_f1_counts_whole_entities_of_all_kinds() -> None:
    rows = outcome(("B-a I-a O B-b", "B-a I-a B-b O"), ("O O", "O B-a"), ("B-a", "B-a"))
    measured = EntityF1().of(rows, 50)
    assert measured.value == pytest.approx(2 * 2 / (4 + 3))
    assert measured.note == "precision 0.5000, recall 0.6667, as conlleval counts"
    assert measured.low is not None
    assert measured.low <= measured.value
    assert not EntityF1().of(outcome(("NN", "NN"))).means
    assert EntityF1().of(outcome(("B-a", "O"))).value == 0.0


def test_accuracy_counts_words() -> None:
    measured = TagAccuracy().of(outcome(("a b b", "a b a"), ("b", "b")), 50)
    assert measured.value == 0.75
    assert measured.baseline == ("always answering 'b'", 0.75)
