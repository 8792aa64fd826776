"""Rewards, read as returns-to-go: what is still earned from each step on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from transduce.data.examples import Ragged
from transduce.data.readers.reader import Reader
from transduce.data.tracks import tracks


@dataclass(frozen=True, kw_only=True)
class Returns(Reader):
    """A series of rewards a row, read as sum_{s >= t} r_s / scale.   Chen et al. 2021, arXiv:2106.01345, sec. 3.

    scale: the standard deviation of returns-to-go in the training data; 1 where all are equal.
    least: the smallest return of an episode.
    most: the largest return of an episode.
    steps: of the longest episode.
    """

    kind: ClassVar[str] = "returns"
    scale: float = 1.0
    least: float = 0.0
    most: float = 0.0
    steps: int = 1

    @property
    def size(self) -> int:
        return 1

    def fit(self, values: Sequence[Any], column: str) -> Self:
        some = [to_go(x) for x in tracks(values, column, 1)]
        whole = [float(x[0, 0]) for x in some]
        scale = float(np.concatenate(some).std()) or 1.0
        return replace(self, scale=scale, least=min(whole), most=max(whole), steps=max(map(len, some)))

    def encode(self, values: Sequence[Any], column: str) -> Ragged:
        """Returns rows of (T, 1) float32."""
        return Ragged.of([to_go(x) / self.scale for x in tracks(values, column, 1)], np.float32)


def to_go(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the sum of this reward and all that follow, of each step: (T, 1) -> (T, 1)."""
    return rewards[::-1].cumsum(0)[::-1]
