"""Measures of predicted classes."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.data.examples import Index
from transduce.tasks.measures.measure import Grid, Measure, Measured, Outcome, Sample, interval

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassMeasure(Measure):
    """A measure of a confusion table."""

    of_what: ClassVar[str] = "class"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        names, numbers = cells(outcome.samples)
        size = len(names)

        def value(rows: Index) -> float:
            cells = np.bincount(numbers[rows], minlength=size * size)
            return self.value(cells.reshape(size, size))

        everything = np.arange(len(numbers))
        answer = Counter(sample.expected for sample in outcome.samples).most_common(1)
        always = np.zeros((size, size), dtype=np.int64)  # the table of whoever always gives that answer
        for name, _ in answer:
            always[:, names.index(name)] = np.bincount(numbers // size, minlength=size)
        baseline = (f"always answering {answer[0][0]!r}", self.value(always)) if answer else None
        return Measured(value(everything), *interval(value, len(numbers), draws), baseline=baseline)

    def value(self, counts: Counts) -> float:
        """Returns the value of counts: (classes, classes), of rows by their class and by the predicted one."""
        raise AssertionError("a kind of ClassMeasure defines value")


def cells(samples: Sequence[Sample]) -> tuple[list[str], Index]:
    """Returns the classes that occur, and the cell of each row in their confusion table."""
    names = sorted({name for sample in samples for name in (sample.expected, sample.output)})
    numbers = {name: i for i, name in enumerate(names)}
    flat = [numbers[sample.expected] * len(names) + numbers[sample.output] for sample in samples]
    return names, np.array(flat, dtype=np.int64)


def confusion(samples: Sequence[Sample]) -> Grid:
    """Returns how many rows of each class were taken for each."""
    names, numbers = cells(samples)
    counts = np.bincount(numbers, minlength=len(names) ** 2).reshape(len(names), len(names))
    return Grid(names, counts.tolist())


@dataclass(frozen=True, kw_only=True)
class MacroF1(ClassMeasure):
    """The mean over classes of F1 = 2 TP / (2 TP + FP + FN), each class counting the same, 0 to 1.

    Of classes that are expected or predicted anywhere in what is measured, as scikit-learn's f1_score has it.
    """

    kind: ClassVar[str] = "macro-f1"
    label: ClassVar[str] = "macro-F1"

    def value(self, counts: Counts) -> float:
        right, both = counts.diagonal(), counts.sum(0) + counts.sum(1)
        there = both > 0
        return float((2 * right[there] / both[there]).mean()) if there.any() else 0.0


@dataclass(frozen=True, kw_only=True)
class Accuracy(ClassMeasure):
    """The share of rows whose class was predicted, 0 to 1."""

    kind: ClassVar[str] = "accuracy"
    label: ClassVar[str] = "accuracy"

    def value(self, counts: Counts) -> float:
        return float(counts.diagonal().sum() / max(counts.sum(), 1))

    def text(self, value: float) -> str:
        return f"{value:.2%}"


@dataclass(frozen=True, kw_only=True)
class Matthews(ClassMeasure):
    """Matthews' correlation of predicted and expected classes, -1 to 1; 0 for chance.   Gorodkin 2004, eq. 8."""

    kind: ClassVar[str] = "mcc"
    label: ClassVar[str] = "MCC"

    def value(self, counts: Counts) -> float:
        total, right = int(counts.sum()), int(counts.diagonal().sum())
        predicted, expected = counts.sum(0).astype(float), counts.sum(1).astype(float)
        above = right * total - float(predicted @ expected)
        below = math.sqrt((total**2 - float(predicted @ predicted)) * (total**2 - float(expected @ expected)))
        return above / below if below else 0.0
