"""States: some numbers a step, each brought to mean 0 and deviation 1."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from transduce.data.examples import Ragged
from transduce.data.readers.reader import Reader
from transduce.data.tracks import tracks


@dataclass(frozen=True, kw_only=True)
class Vectors(Reader):
    """A series of states a row, read as (x - mean) / deviation, number by number.

    mean: of each number, over all steps of the training data.
    deviation: the standard deviation of each; 1 where all are equal.
    """

    kind: ClassVar[str] = "vectors"
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        return len(self.mean)

    def fit(self, values: Sequence[Any], column: str) -> Self:
        x = np.concatenate(tracks(values, column))
        spans = [span if span > 1e-6 else 1.0 for span in x.std(0).tolist()]
        return replace(self, mean=tuple(x.mean(0).tolist()), deviation=tuple(spans))

    def encode(self, values: Sequence[Any], column: str) -> Ragged:
        """Returns rows of (T, S) float32."""
        rows = tracks(values, column, self.size)
        return Ragged.of([(x - self.mean) / self.deviation for x in rows], np.float32)
