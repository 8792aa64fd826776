"""Pictures with captions as batches of pairs, of which some may share a picture or a caption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transduce.data.columns import TEXT
from transduce.data.examples import Index, Ragged
from transduce.data.framed import Frame, framed
from transduce.data.loader import BatchConfig
from transduce.data.pictured import NONE, Pictured, PictureRows
from transduce.data.pieces import Pieces, padded
from transduce.data.rows import Rows
from transduce.model.batch import Batch


@dataclass(frozen=True)
class Captioned:
    """Pictures and captions as ids. The targets of pictures are groups: no pair is a wrong answer to one of its own."""

    pictures: Pictured
    captions: Ragged
    frame: Frame
    pad: int

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def beside(self) -> int:
        return self.frame.beside(two=False)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {TEXT: self.captions}

    def cuts(self, config: BatchConfig) -> bool:
        return True

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        self.pictures.rows(config, drop=drop)  # refuses what pictures cannot be
        limit, every = config.max_length, np.arange(len(self), dtype=np.int64)
        chosen = np.flatnonzero(self.captions.lengths + self.beside <= limit) if drop else every
        rows = [self.frame.cut(self.captions[i].tolist(), None, limit) for i in chosen.tolist()]
        return PairRows(self.pictures, framed(rows, chosen, self.pad, every), chosen, config.batch_tokens)


class PairRows:
    """Up to `most` pairs a batch, and of about equally many, so that none is left alone. A group is as of pictures."""

    def __init__(self, pictures: Pictured, captions: Pieces, chosen: Index, most: int) -> None:
        """Takes captions: a piece for each of the chosen examples."""
        self.pictures, self.captions, self.most = PictureRows(pictures, most), captions, most
        self.chosen, self.place = chosen, np.full(len(pictures), -1, dtype=np.int64)
        self.place[chosen] = np.arange(len(chosen))

    @property
    def shape(self) -> tuple[int, int]:
        lengths = self.captions.target.lengths
        return round(float(lengths.mean())) if len(lengths) else 1, 1

    def plan(self, rng: np.random.Generator) -> list[Index]:
        epoch = int(rng.integers(2**62))
        return self.groups(rng.permutation(self.chosen), epoch)

    def fixed(self) -> list[Index]:
        return self.groups(self.chosen, NONE)

    def groups(self, order: Index, epoch: int) -> list[Index]:
        if not len(order):
            return []
        both = np.stack([order, np.full(len(order), epoch, dtype=np.int64)], 1)
        return np.array_split(both, -(-len(order) // self.most))

    def build(self, group: Index) -> Batch:
        captions, layout = padded(self.captions.target, self.place[group[:, 0]], self.captions.pad)
        return self.pictures.build(group)._replace(source=captions, source_layout=layout)


def groups_of(*columns: Sequence[str]) -> Index:
    """Returns a number for each row: equal for rows that are equal in a column, and for what is so joined."""
    parent = list(range(len(columns[0])))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in columns:
        first = dict[str, int]()
        for row, value in enumerate(column):
            one, other = root(first.setdefault(value, row)), root(row)
            parent[max(one, other)] = min(one, other)
    return np.array([root(row) for row in range(len(parent))], dtype=np.int64)
