"""Measures of rankings: where the right text stands among all others. A sample's `beside` is its rank, and BM25's.

Tested in tests/tasks/test_rank.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval

Ranks = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RankMeasure(Measure):
    """The mean over questions of a value of the rank of the right text, 1 for the first."""

    of_what: ClassVar[str] = "rank"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        pairs: Sequence[tuple[int, int]] = [sample.beside for sample in outcome.samples]
        ranks = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        values = self.values(ranks)
        mean = values.mean(0).tolist() if len(values) else [0.0, 0.0]
        ends = interval(lambda rows: float(values[rows, 0].mean()), len(values), draws)
        return Measured(mean[0], *ends, baseline=("BM25", mean[1]))

    def values(self, ranks: Ranks) -> NDArray[np.float64]:
        raise AssertionError("a kind of RankMeasure defines values")


@dataclass(frozen=True, kw_only=True)
class ReciprocalRank(RankMeasure):
    """The mean of 1 / rank.   Voorhees 1999, TREC-8."""

    kind: ClassVar[str] = "mrr"
    label: ClassVar[str] = "MRR"

    def values(self, ranks: Ranks) -> NDArray[np.float64]:
        return 1.0 / ranks


@dataclass(frozen=True, kw_only=True)
class RecallAt1(RankMeasure):
    """The share of questions whose right text is the first."""

    kind: ClassVar[str] = "recall-at-1"
    label: ClassVar[str] = "recall@1"

    def values(self, ranks: Ranks) -> NDArray[np.float64]:
        return (ranks <= 1).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class RecallAt10(RankMeasure):
    """The share of questions whose right text is among the first ten."""

    kind: ClassVar[str] = "recall-at-10"
    label: ClassVar[str] = "recall@10"

    def values(self, ranks: Ranks) -> NDArray[np.float64]:
        return (ranks <= 10).astype(np.float64)
