"""Numbers as ids: the bins that they fall into."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from transduce.data.examples import Ragged
from transduce.data.readers.actions import MOST
from transduce.data.readers.reader import Reader
from transduce.data.tracks import tracks
from transduce.errors import UserError, require_at_least

Levels = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Bins(Reader):
    """A series of numbers a row, each read as the bin that it falls into.   Janner et al. 2021, arXiv:2106.02039.

    A number that has at most `bins` values in the training data has a bin for each of them. Whole numbers from 0, one a
    step, are classes; steps that are 1 in one place and 0 elsewhere are read as one class each, the place.

    bins: of each number.
    edges: of bins that are equally wide between the extremes ("uniform"), or that equally many numbers of the training
        data fall into ("quantile"; sec. 3.1). Beyond its ends the outermost bin goes on.
    numeric: every number is put in bins, even where steps look like classes.
    classes: how many there are (0: numbers are in bins).
    places: whether a class is read from its place.
    cuts: of each number, where the next bin begins.
    levels: of each number, what its bins stand for: their middle where bins are equally wide, else the mean of the
        training data in them.
    """

    kind: ClassVar[str] = "bins"
    bins: int = 100
    edges: Literal["uniform", "quantile"] = "uniform"
    numeric: bool = False
    classes: int = 0
    places: bool = False
    cuts: Levels = ()
    levels: Levels = ()

    def __post_init__(self) -> None:
        require_at_least(2, bins=self.bins)

    @property
    def size(self) -> int:
        """Returns how many numbers a step has."""
        return (self.classes if self.places else 1) if self.classes else len(self.levels)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Returns how many ids there are for each number."""
        return (self.classes,) if self.classes else tuple(map(len, self.levels))

    def fit(self, values: Sequence[Any], column: str) -> Self:
        x = np.concatenate(tracks(values, column))
        if not self.numeric and x.shape[1] > 1 and one_place(x).all():
            return replace(self, classes=x.shape[1], places=True)
        if not self.numeric and x.shape[1] == 1 and (x == np.floor(x)).all() and x.min() >= 0 and x.max() < MOST:
            return replace(self, classes=int(x.max()) + 1)
        parts = [self.parted(number) for number in x.T]
        return replace(self, cuts=tuple(cuts for cuts, _ in parts), levels=tuple(levels for _, levels in parts))

    def parted(self, x: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Returns the cuts and levels of one number, of which x are the training data."""
        values = np.unique(x)
        if len(values) <= self.bins:
            return tuple(((values[1:] + values[:-1]) / 2).tolist()), tuple(values.tolist())
        if self.edges == "uniform":
            low, high = float(values[0]), float(values[-1])
            ends: NDArray[np.float64] = np.linspace(low, high, self.bins + 1)
            return tuple(ends[1:-1].tolist()), tuple(((ends[1:] + ends[:-1]) / 2).tolist())
        cuts = np.unique(np.quantile(x, np.arange(1, self.bins) / self.bins))
        cuts = cuts[np.unique(np.searchsorted(cuts, x, side="right"))[1:] - 1]  # no bin is empty, as between equal ones
        ids = np.searchsorted(cuts, x, side="right")
        return tuple(cuts.tolist()), tuple((np.bincount(ids, x) / np.bincount(ids)).tolist())

    def encode(self, values: Sequence[Any], column: str) -> Ragged:
        """Returns rows of (T, numbers) int32 ids, or (T, 1) classes. Raises UserError, naming the row."""
        rows = tracks(values, column, self.size)
        for row, x in enumerate(rows, 1) if self.classes else ():
            right = one_place(x) if self.places else (x[:, 0] >= 0) & (x[:, 0] < self.classes) & (x[:, 0] % 1 == 0)
            if not right.all():
                what = f"row {row} of the column `{column}` has {x[~right][0].tolist()}"
                way = "1 in one place" if self.places else f"0 to {self.classes - 1}"
                raise UserError(f"{what}, but in the training data every step is {way}; leave it out")
        return Ragged.of([self.ids(x) for x in rows])

    def ids(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Returns (..., numbers) ids of numbers of this shape, or (..., 1) classes."""
        if self.classes:
            return x.argmax(-1)[..., None] if self.places else np.asarray(x, dtype=np.int64)
        some = [np.searchsorted(cuts, x[..., i], side="right") for i, cuts in enumerate(self.cuts)]
        return np.stack(some, -1)

    def numbers(self, ids: NDArray[Any]) -> NDArray[np.float64]:
        """Returns what (..., numbers) ids stand for."""
        if self.classes:
            return np.eye(self.classes)[ids[..., 0]] if self.places else ids.astype(np.float64)
        return np.stack([np.asarray(levels)[ids[..., i]] for i, levels in enumerate(self.levels)], -1)


def one_place(x: NDArray[Any]) -> NDArray[np.bool_]:
    """Says which of (T, F) steps are 1 in one place and 0 elsewhere."""
    return ((x == 0) | (x == 1)).all(1) & (x.sum(1) == 1)
