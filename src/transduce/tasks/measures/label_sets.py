"""Measures of sets of labels.

Tested in tests/tasks/test_multilabel.py.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval

Table = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LabelSetMeasure(Measure):
    """F1 = 2 TP / (2 TP + FP + FN) of labels, of which a row has any number. A sample's `beside` has both sets."""

    of_what: ClassVar[str] = "labels"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        pairs: Sequence[tuple[tuple[str, ...], tuple[str, ...]]] = [sample.beside for sample in outcome.samples]
        names = sorted({name for pair in pairs for labels in pair for name in labels})
        most = Counter(name for expected, _ in pairs for name in expected).most_common(1)
        always = tuple(name for name, _ in most)
        counts = table([(expected, predicted) for expected, predicted in pairs], names)
        simple = self.value(table([(expected, always) for expected, _ in pairs], names).sum(0))
        ends = interval(lambda rows: self.value(counts[rows].sum(0)), len(counts), draws)
        baseline = (f"always answering {always[0]!r}", simple) if always else None
        return Measured(self.value(counts.sum(0)), *ends, baseline=baseline)

    def value(self, counts: Table) -> float:
        """Returns the value of counts: (labels, 2), how often each is right, and how often there or predicted."""
        raise AssertionError("a kind of LabelSetMeasure defines value")


def table(pairs: Sequence[tuple[Sequence[str], Sequence[str]]], names: Sequence[str]) -> Table:
    """Returns (rows, labels, 2): 1 where a label is right, and how often it is expected or predicted."""
    place, out = {name: i for i, name in enumerate(names)}, np.zeros((len(pairs), len(names), 2), dtype=np.int64)
    for row, (expected, predicted) in zip(out, pairs, strict=True):
        for name in {*expected, *predicted}:
            row[place[name]] = name in expected and name in predicted, (name in expected) + (name in predicted)
    return out


@dataclass(frozen=True, kw_only=True)
class MicroF1(LabelSetMeasure):
    """F1 of all labels of all rows together, 0 to 1."""

    kind: ClassVar[str] = "micro-f1"
    label: ClassVar[str] = "micro-F1"

    def value(self, counts: Table) -> float:
        right, both = counts.sum(0).tolist() if len(counts) else (0, 0)
        return 2 * right / max(both, 1)


@dataclass(frozen=True, kw_only=True)
class MacroLabelF1(LabelSetMeasure):
    """The mean over labels of F1, of those that are expected or predicted anywhere, each counting the same, 0 to 1."""

    kind: ClassVar[str] = "macro-label-f1"
    label: ClassVar[str] = "macro-F1"

    def value(self, counts: Table) -> float:
        there = counts[counts[:, 1] > 0]
        return float((2 * there[:, 0] / there[:, 1]).mean()) if len(there) else 0.0
