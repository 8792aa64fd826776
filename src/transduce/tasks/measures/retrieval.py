"""Measures of retrieval both ways: where the caption of a picture stands among all, and the picture of a caption.

Tested in tests/tasks/test_match.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval


class Retrieved(NamedTuple):
    """The ranks of a pair among all captions and all pictures, 1 for the first. It is the `beside` of a sample."""

    caption: int
    picture: int


@dataclass(frozen=True, kw_only=True)
class RetrievalMeasure(Measure):
    """The mean over pairs of a value of ranks."""

    of_what: ClassVar[str] = "retrieval"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        rows: Sequence[Retrieved] = [sample.beside for sample in outcome.samples]
        values = self.values(np.array(rows, dtype=np.int64).reshape(-1, 2))
        ends = interval(lambda some: float(values[some].mean()), len(values), draws)
        return Measured(float(values.mean()) if len(values) else 0.0, *ends)

    def values(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns a value for each of (N, 2) ranks."""
        raise AssertionError("a kind of RetrievalMeasure defines values")


@dataclass(frozen=True, kw_only=True)
class RetrievalRank(RetrievalMeasure):
    """The mean of 1 / rank, of captions and of pictures together.   Voorhees 1999, TREC-8."""

    kind: ClassVar[str] = "retrieval-mrr"
    label: ClassVar[str] = "MRR both ways"

    def values(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        return (1.0 / ranks).mean(1)


@dataclass(frozen=True, kw_only=True)
class CaptionAt1(RetrievalMeasure):
    """The share of pictures whose caption is the nearest of all."""

    kind: ClassVar[str] = "caption-at-1"
    label: ClassVar[str] = "caption R@1"

    def values(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        return (ranks[:, 0] <= 1).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class CaptionAt5(RetrievalMeasure):
    """The share of pictures whose caption is among the nearest five."""

    kind: ClassVar[str] = "caption-at-5"
    label: ClassVar[str] = "caption R@5"

    def values(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        return (ranks[:, 0] <= 5).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class PictureAt1(RetrievalMeasure):
    """The share of captions whose picture is the nearest of all."""

    kind: ClassVar[str] = "picture-at-1"
    label: ClassVar[str] = "picture R@1"

    def values(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        return (ranks[:, 1] <= 1).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class PictureAt5(RetrievalMeasure):
    """The share of captions whose picture is among the nearest five."""

    kind: ClassVar[str] = "picture-at-5"
    label: ClassVar[str] = "picture R@5"

    def values(self, ranks: NDArray[np.int64]) -> NDArray[np.float64]:
        return (ranks[:, 1] <= 5).astype(np.float64)
