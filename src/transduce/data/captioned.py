"""Pictures with captions as batches: of pairs, of which some may share a picture or a caption, or of texts to write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from transduce.data import order
from transduce.data.columns import TEXT
from transduce.data.examples import Index, Ragged
from transduce.data.framed import Frame, framed
from transduce.data.loader import BatchConfig
from transduce.data.pictured import NONE, Pictured, PictureRows
from transduce.data.pieces import Pieces, Specials, padded, whole
from transduce.data.rows import POOL, Rows
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


@dataclass(frozen=True)
class Described:
    """Pictures and captions as ids, which are written of them.

    Slots are those of captions, and one for each picture.
    """

    pictures: Pictured
    captions: Ragged
    specials: Specials

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {TEXT: self.captions}

    def cuts(self, config: BatchConfig) -> bool:
        return True

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        self.pictures.rows(config, drop=drop)  # refuses what pictures cannot be
        texts, one = whole(self.captions, self.specials, config.max_length, drop), np.ones(len(self), dtype=np.int64)
        return WrittenRows(PictureRows(self.pictures, config.batch_tokens), one, texts, config.batch_tokens)


class Given(Protocol):
    """Makes batches of sources, of a group as of pictures."""

    def build(self, group: Index, /) -> Batch: ...


class WrittenRows:
    """A source and its text a row, both of like lengths in a batch. A group is as of pictures."""

    def __init__(self, sources: Given, slots: Index, texts: Pieces, budget: int) -> None:
        """Makes rows of sources with texts: a piece for each example that is read. slots: of each source."""
        self.sources, self.texts, self.budget = sources, texts, budget
        self.before, self.place = slots[texts.example], np.full(len(slots), -1, dtype=np.int64)
        self.place[texts.example] = np.arange(len(texts.example))

    @property
    def shape(self) -> tuple[int, int]:
        return mean(self.before), mean(self.texts.target.lengths)

    def plan(self, rng: np.random.Generator) -> list[Index]:
        epoch = int(rng.integers(2**62))
        batches = self.cut(order.bucket(self.before, self.texts.target.lengths, rng, POOL))
        shuffled: list[int] = rng.permutation(len(batches)).tolist()
        return [self.group(batches[i], epoch) for i in shuffled]

    def fixed(self) -> list[Index]:
        ordered = np.lexsort((self.texts.target.lengths, self.before))
        return [self.group(batch, NONE) for batch in self.cut(ordered)]

    def cut(self, rows: Index) -> list[Index]:
        return order.cut(rows, self.before, self.texts.target.lengths, self.budget)

    def group(self, rows: Index, epoch: int) -> Index:
        return np.stack([self.texts.example[rows], np.full(len(rows), epoch, dtype=np.int64)], 1)

    def build(self, group: Index) -> Batch:
        given = self.sources.build(group)
        batch = self.texts.padded(self.place[group[:, 0]])
        return batch._replace(source=given.inputs, source_layout=given.layout)


def mean(lengths: Index) -> int:
    return round(float(lengths.mean())) if len(lengths) else 1


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
