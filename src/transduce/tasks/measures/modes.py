"""Measures of points that are drawn beside those of data with labels, each label around a place of its own."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval

NEAR = 0.4  # of a place, in the unit of the data


class Nearest(NamedTuple):
    """The place nearest to each point that was drawn, and how far it is. places: how many there are."""

    place: NDArray[np.int64]
    distance: NDArray[np.float64]
    places: int


def nearest(outcome: Outcome) -> Nearest:
    """Returns where points were drawn. Samples hold beside them a point of the data and its label."""
    data = np.array([sample.beside[0] for sample in outcome.samples])
    names, labels = np.unique([str(sample.beside[1]) for sample in outcome.samples], return_inverse=True)
    places = np.stack([data[labels == i].mean(0) for i in range(len(names))])
    points = np.array([sample.prediction for sample in outcome.samples])
    distances = np.sqrt(np.square(points[:, None] - places).sum(-1))
    return Nearest(distances.argmin(1), distances.min(1), len(places))


@dataclass(frozen=True, kw_only=True)
class NearModes(Measure):
    """The share of what is drawn that lies within `near` of the mean of the points of a label.

    near: in the unit of the data.
    """

    kind: ClassVar[str] = "near-modes"
    label: ClassVar[str] = "near a mode"
    of_what: ClassVar[str] = "point"
    near: float = NEAR

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        near = nearest(outcome).distance <= self.near
        ends = interval(lambda rows: float(near[rows].mean()), len(near), draws)
        return Measured(float(near.mean()), *ends, note=f"within {self.near:g}")

    def text(self, value: float) -> str:
        return f"{100 * value:.2f} %"


@dataclass(frozen=True, kw_only=True)
class RarestMode(Measure):
    """The share of what is drawn that is nearest to the mean of the rarest label; 1 / labels at best.

    It has no interval: the least of several shares is lower in nearly every draw of other rows.
    """

    kind: ClassVar[str] = "rarest-mode"
    label: ClassVar[str] = "rarest mode"
    of_what: ClassVar[str] = "point"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        place, _, places = nearest(outcome)
        shares = np.bincount(place, minlength=places) / len(place)
        return Measured(float(shares.min()), note=f"of {places}; the most frequent has {self.text(shares.max())}")

    def text(self, value: float) -> str:
        return f"{100 * value:.2f} %"
