"""Laws for every measure: its value lies in its interval, is that of any order of rows, and needs no interval."""

from typing import Any

import numpy as np
import pytest

from transduce.config import kinds
from transduce.tasks.acting import Played
from transduce.tasks.classifying import Classified
from transduce.tasks.measures.legal import Judged
from transduce.tasks.measures.measure import Grid, Measure, Outcome, Sample, interval
from transduce.tasks.measures.reconstruction import Errors
from transduce.tasks.measures.squad import Right
from transduce.testing.tasks import check_measure
from transduce.worlds.world import Episode

PARTS = np.array([[10.0, 4.0], [9.0, 6.0], [1.0, 1.0], [7.5, 5.0]])
LABELS = [("a",), ("a", "b"), (), ("c",)]
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "": [],
    "text": [(f"the cat number {i} sat on the mat", f"the cat number {i - i % 3} sat on the mat") for i in range(40)],
    "class": [("abc"[i % 3], "abc"[i * i % 3], Classified("", (1 + i % 9) / 9, {})) for i in range(40)],
    "number": [(str(i / 7), str(i / 7 + i % 3)) for i in range(40)],
    "answer": [(f"cat {i}", f"cat {i - i % 3}", None, Right((f"cat {i}", "dog"), "cat")) for i in range(40)],
    "tags": [("B-x I-x O", ("B-x I-x O", "B-x O O", "O O O")[i % 3]) for i in range(40)],
    "labels": [("", "", None, (LABELS[i % 4], LABELS[i * i % 3])) for i in range(40)],
    "rank": [("", "", None, (1 + i % 12, 1 + i % 5)) for i in range(40)],
    "reconstruction": [("", "", None, Errors(0.001 * (1 + i % 7), 0.05)) for i in range(40)],
    "retrieval": [("", "", None, (1 + i % 12, 1 + i % 5)) for i in range(40)],
    "episode": [
        ("", "", None, Played(1.0, i % 7 - 2.5, i % 3 > 0, Episode(*[np.zeros(1, np.float32)] * 3), []))
        for i in range(40)
    ],
    "point": [("", "", (i % 3, i / 9), ((i % 4, 0.0), "ab"[i % 4 // 2])) for i in range(40)],
    "moves": [
        ("", "", None, Judged(np.arange(i + 1) % 3 > 0, np.arange(i + 1) / (i + 2), (12,), "ply")) for i in range(40)
    ],
    "preference": [("good", ("good", "bad")[i % 3 > 1]) for i in range(40)],
}


@pytest.mark.parametrize("kind", sorted(kinds(Measure.folder)))
def test_a_measure(kind: str) -> None:
    measure = kinds(Measure.folder)[kind]()
    assert isinstance(measure, Measure)
    samples = [Sample(f"row {i}", *row) for i, row in enumerate(ROWS[measure.of_what])]
    check_measure(measure, Outcome(PARTS[:, 0].sum() / PARTS[:, 1].sum(), 16, PARTS, samples, ["x"], bytes=33))


def test_an_interval_is_the_middle_of_what_is_drawn() -> None:
    values = np.arange(1000.0)
    low, high = interval(lambda rows: float(values[rows].mean()), 1000, 2000)
    assert low is not None
    assert high is not None
    error = values.std() / 1000**0.5
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert interval(lambda rows: 0.0, 0, 9) == interval(lambda rows: 0.0, 9, 0) == (None, None)


def test_the_commonest_confusions_come_first() -> None:
    grid = Grid(["a", "b", "c"], [[8, 2, 0], [0, 1, 5], [0, 0, 3]])
    assert grid.confusions() == ["b taken for c: 5 of 6", "a taken for b: 2 of 10"]
    assert grid.confusions(1) == ["b taken for c: 5 of 6"]
