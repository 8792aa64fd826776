"""Measures of classes are those of scikit-learn, and their intervals hold what they should."""

import numpy as np
import pytest

from transduce.config import kinds
from transduce.tasks.measures.classes import Accuracy, MacroF1, Matthews, confusion
from transduce.tasks.measures.measure import Measure, Outcome, Sample
from transduce.tasks.task import TaskConfig

metrics = pytest.importorskip("sklearn.metrics")


def outcome(expected: list[str], predicted: list[str]) -> Outcome:
    samples = [Sample("x", e, p) for e, p in zip(expected, predicted, strict=True)]
    return Outcome(1.0, len(samples), np.zeros((0, 2)), samples, expected)


def drawn(seed: int, rows: int, classes: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    expected = rng.integers(0, classes, rows)
    # one class is never right
    predicted = np.where(rng.random(rows) < 0.6, expected, rng.integers(0, classes + 1, rows))
    return [f"c{i}" for i in expected], [f"c{i}" for i in predicted]


@pytest.mark.filterwarnings("ignore:A single label was found:UserWarning")
@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (7, 2), (113, 2), (501, 6)])
def test_they_are_those_of_scikit_learn(rows: int, classes: int) -> None:
    for seed in range(3):
        expected, predicted = drawn(seed, rows, classes)
        one = outcome(expected, predicted)
        assert Accuracy().of(one).value == pytest.approx(metrics.accuracy_score(expected, predicted))
        macro = metrics.f1_score(expected, predicted, average="macro", zero_division=0)
        assert MacroF1().of(one).value == pytest.approx(macro)
        assert Matthews().of(one).value == pytest.approx(metrics.matthews_corrcoef(expected, predicted))
        grid = confusion(one.samples)
        assert grid.counts == metrics.confusion_matrix(expected, predicted, labels=grid.names).tolist()


def test_the_baseline_is_whoever_always_gives_the_commonest_answer() -> None:
    expected = ["ham"] * 8 + ["spam"] * 2
    one = outcome(expected, ["spam"] * 10)
    for measure in (Accuracy(), MacroF1(), Matthews()):
        how, value = measure.of(one).baseline or ("", 0.0)
        assert how == "always answering 'ham'"
        assert value == pytest.approx(measure.of(outcome(expected, ["ham"] * 10)).value)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 200 samples of 150 coin throws, the interval of accuracy holds the true 0.7 in about 95 %."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        right = rng.random(150) < 0.7
        one = outcome(["a"] * 150, ["a" if r else "b" for r in right])
        found = Accuracy().of(one, draws=200)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.7 <= found.high
    assert 0.88 * 200 <= held <= 0.99 * 200


def test_every_measure_has_a_name_and_a_direction() -> None:
    tasks = [task for task in kinds(TaskConfig.folder).values() if issubclass(task, TaskConfig)]
    for kind, measure in kinds(Measure.folder).items():
        assert issubclass(measure, Measure)
        assert measure.label, kind
        assert measure.sign in (-1, 1)
        assert measure.of_what in ("", *(task.gives for task in tasks)), kind
