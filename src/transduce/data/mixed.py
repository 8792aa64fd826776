"""Batches out of several sources, each of which has its share: a pure function of (seed, epoch, index, rank).

A source is read in passes, each of which has everything in it once, in an order of its own; an epoch takes the next of
them. So nothing comes twice before all of its source has come once, however small its share is.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate, takewhile
from typing import Any, cast

import numpy as np

from transduce.data.columns import Columns
from transduce.data.examples import Examples, Index
from transduce.data.lanes import Lanes
from transduce.data.loader import BatchConfig, Cursor, Loader
from transduce.data.mixture import Mixture
from transduce.data.pieces import PairPieces, Spans
from transduce.data.rows import Packed, Padded, Rows, Windows
from transduce.data.source import DataConfig
from transduce.errors import UserError
from transduce.model.batch import Batch


class Units(ABC):
    """The units that rows are filled with, by source: pieces, or windows of streams."""

    sizes: list[int]  # how many each source has

    @abstractmethod
    def once(self, source: int, rng: np.random.Generator) -> Index:
        """Returns all of a source, in random order: (sizes[source],)."""

    @abstractmethod
    def grouped(self, units: Index, rng: np.random.Generator) -> list[Any]:
        """Returns the batches of an epoch that has these."""

    @abstractmethod
    def fixed(self, source: int) -> list[Any]:
        """Returns the batches of an evaluation of a source."""

    @abstractmethod
    def build(self, group: Any) -> Batch: ...

    @abstractmethod
    def sources(self, group: Any) -> Index:
        """Returns the source of each unit of a batch of `grouped`."""


class PieceUnits(Units):
    """Texts, or pairs, or parts of documents. ends: (sources,), the number of the example after the last of each."""

    def __init__(self, rows: Padded | Packed, ends: Index) -> None:
        self.rows, self.source = rows, np.searchsorted(ends, rows.pieces.example, side="right")
        self.units = [np.flatnonzero(self.source == number) for number in range(len(ends))]
        self.sizes = [len(units) for units in self.units]

    def once(self, source: int, rng: np.random.Generator) -> Index:
        return rng.permutation(self.units[source])

    def grouped(self, units: Index, rng: np.random.Generator) -> list[Any]:
        return self._named(units, self._of(units).plan(rng))

    def fixed(self, source: int) -> list[Any]:
        units = self.units[source]
        return self._named(units, self._of(units).fixed()) if len(units) else []

    def build(self, group: Any) -> Batch:
        return cast("Rows[Any]", self.rows).build(group)

    def sources(self, group: Any) -> Index:
        rows = cast("list[Index]", group)  # of packed rows, or one row of numbers
        return self.source[np.concatenate(rows) if isinstance(group, list) else group]

    def _of(self, units: Index) -> Padded | Packed:
        """Returns rows of these units alone, whose lengths say how batches are cut."""
        pieces = self.rows.pieces
        (source, target), flat = (side[units] for side in pieces.lengths), pieces.target.flat
        starts = np.zeros_like(target)
        some = PairPieces(Spans(flat, starts, target), pieces.example[units], pieces.pad, Spans(flat, starts, source))
        if isinstance(self.rows, Packed):
            return Packed(some, self.rows.budget, self.rows.width)
        return Padded(some, self.rows.budget)

    def _named(self, units: Index, groups: list[Any]) -> list[Any]:
        """Returns batches that name rows of `_of`, by the names of the units."""
        if isinstance(self.rows, Packed):
            return [[units[row] for row in cast("list[Index]", group)] for group in groups]
        return [units[group] for group in groups]


class WindowUnits(Units):
    """Windows of streams that lie one behind the other. ends: (sources,), where each ends in the whole."""

    def __init__(self, rows: Windows, ends: Index, names: list[str]) -> None:
        self.rows = Stretches(rows, ends)
        self.begins = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])
        self.room: list[int] = (ends - self.begins - 1).tolist()  # tokens that have one behind them
        if short := next((name for name, room in zip(names, self.room, strict=True) if room < 1), None):
            raise UserError(f"data.of.{short} has less than two tokens of text, but predicting takes two; give more")
        self.names, width = names, rows.width
        self.sizes = [max(1, (room - width + 1) // width) for room in self.room]

    def once(self, source: int, rng: np.random.Generator) -> Index:
        width, room, count = self.rows.width, self.room[source], self.sizes[source]
        if room < width:
            what = f"data.of.{self.names[source]} has {room + 1} tokens, too few for one row of max_length={width}"
            raise UserError(f"{what} and the token after it; set batch.max_length to at most {room}")
        shift = rng.integers(min(width, room - count * width + 1))
        return rng.permutation(self.begins[source] + shift + np.arange(count, dtype=np.int64) * width)

    def grouped(self, units: Index, rng: np.random.Generator) -> list[Any]:
        units = rng.permutation(units)
        return [units[i : i + self.rows.rows] for i in range(0, len(units), self.rows.rows)]

    def fixed(self, source: int) -> list[Any]:
        starts = self.begins[source] + np.arange(0, self.room[source], self.rows.width, dtype=np.int64)
        return [starts[i : i + self.rows.rows] for i in range(0, len(starts), self.rows.rows)]

    def build(self, group: Any) -> Batch:
        return self.rows.build(group)

    def sources(self, group: Any) -> Index:
        return self.rows.source(group)


class Stretches(Windows):
    """Windows that do not reach beyond the stream that they begin in."""

    def __init__(self, rows: Windows, ends: Index) -> None:
        super().__init__(rows.stream, rows.rows * rows.width, rows.width)
        self.ends = ends

    def source(self, group: Index) -> Index:
        return np.searchsorted(self.ends, group, side="right")

    def last(self, group: Index) -> Index:
        return self.ends[self.source(group)] - 1


class MixedLoader(Loader):
    """Batches in which every source of a mixture has its share.

    columns: whose sources they are.
    mixture: the shares (None: as large as the sources are).
    Raises UserError for examples that cannot be mixed, and where a source has none.
    """

    def __init__(
        self, examples: Examples, config: BatchConfig, *, seed: int, columns: Columns, mixture: Mixture | None = None,
        rank: int = 0, ranks: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(examples, config, seed=seed, rank=rank, ranks=ranks)
        self.names, self.mixture = list(columns.sources), mixture
        ends = np.cumsum(list(columns.sources.values()), dtype=np.int64)
        self.ends: Index = ends * len(examples) // len(columns)  # an example may be of several rows
        self.units = self._units(self.rows)
        sizes = dict(zip(self.names, self.units.sizes, strict=True))
        if mixture is not None and (bad := next((name for name, size in sizes.items() if not size), None)):
            raise UserError(f"data.of.{bad} has nothing to learn from; give it text, or leave it out")
        whole = sum(sizes.values())
        self.share = {n: k / whole for n, k in sizes.items()} if mixture is None else mixture.shares(sizes)
        self.ends_early = mixture is not None and mixture.exhausted == "stop"
        if self.ends_early:
            whole = math.floor(min(size / self.share[name] for name, size in sizes.items()) + 1e-6)
        self.drawn = rounded([self.share[name] * whole for name in self.names])  # of each source, in an epoch
        self._counts: dict[int, Index] = {}

    def groups(self, epoch: int) -> list[Any]:
        units = np.concatenate([self._drawn(epoch, source) for source in range(len(self.names))])
        return self.units.grouped(units, np.random.default_rng((self.seed, epoch)))

    def _drawn(self, epoch: int, source: int) -> Index:
        """Returns what an epoch has of a source: the next units of its passes."""
        size, start = self.units.sizes[source], epoch * self.drawn[source]
        stop, parts = start + self.drawn[source], list[Index]()
        for number in range(start // size, -(-stop // size)):
            units = self.units.once(source, np.random.default_rng((self.seed, source, number, 1)))
            parts.append(units[max(start - number * size, 0) : stop - number * size])
        return np.concatenate(parts)

    def batch(self, epoch: int, index: int) -> Batch:
        return self.units.build(self._plan(epoch)[index * self.ranks + self.rank])

    def _places(self, cursor: Cursor, skip: frozenset[Cursor]) -> Iterator[Cursor]:
        every = super()._places(cursor, skip)
        return takewhile(lambda place: place.epoch == 0, every) if self.ends_early else every

    @property
    def stopped(self) -> str:  # type: ignore[override]
        first = min(self.names, key=lambda name: self.units.sizes[self.names.index(name)] / self.share[name])
        return f"data.of.{first} has been read once and data.exhausted=stop, so the training ends here"

    def once(self) -> Iterator[Batch]:
        units = self._in_full
        for source in range(len(self.names)):
            yield from (units.build(group) for group in units.fixed(source))

    def parts(self) -> dict[str, slice]:
        counts = [len(self._in_full.fixed(source)) for source in range(len(self.names))]
        ends = [0, *accumulate(counts)]
        return {name: slice(*ends[i : i + 2]) for i, name in enumerate(self.names) if counts[i]}

    @cached_property
    def _in_full(self) -> Units:
        """Returns the units of an evaluation, which leaves nothing out."""
        return (
            self._units(self.examples.rows(self.config, drop=False)) if self.config.overlong == "drop" else self.units
        )

    def _units(self, rows: Rows[Any]) -> Units:
        """Returns the units of rows. Raises UserError where they cannot be mixed."""
        if type(rows) is Windows:
            (texts,) = self.examples.ids.values()
            return WindowUnits(rows, texts.offsets[self.ends], self.names)
        if type(rows) in (Padded, Packed):
            return PieceUnits(cast("Padded | Packed", rows), self.ends)
        if isinstance(rows, Lanes):
            raise UserError(
                "batch.carry=true reads one text from its beginning to its end, and a mixture has several; leave it out"
            )
        raise UserError("data.kind=mixture mixes texts and pairs of texts, and this task reads others; give one source")

    def read(self, cursor: Cursor) -> dict[str, int]:
        """Returns how many examples of each source have been trained on where the next batch is that of a cursor."""
        if cursor.epoch not in self._counts:
            rows = [np.bincount(self.units.sources(g), minlength=len(self.names)) for g in self._plan(cursor.epoch)]
            self._counts = {cursor.epoch: np.cumsum([np.zeros(len(self.names), dtype=np.int64), *rows], axis=0)}
        before = np.array(self.drawn) * cursor.epoch
        return dict(
            zip(self.names, (before + self._counts[cursor.epoch][cursor.index * self.ranks]).tolist(), strict=True)
        )

    def shares(self, cursor: Cursor) -> dict[str, float]:
        counts = self.read(cursor)
        return {f"share_{name}": count / max(sum(counts.values()), 1) for name, count in counts.items()}

    def remarks(self) -> list[str]:
        each = (
            f"{name} {count / sum(self.drawn):.1%} (its {size:,} examples {count / size:.3g} times)"
            for name, count, size in zip(self.names, self.drawn, self.units.sizes, strict=True)
        )
        return [f"an epoch mixes {', '.join(each)}"]

    def summary(self, cursor: Cursor) -> list[str]:
        counts = self.read(cursor)
        whole = max(sum(counts.values()), 1)
        each = (
            f"{name} {count / whole:.1%} ({count:,}, its {size:,} examples {count / size:.3g} times)"
            for (name, count), size in zip(counts.items(), self.units.sizes, strict=True)
        )
        return [f"trained on {', '.join(each)}"]


def rounded(shares: list[float]) -> list[int]:
    """Returns whole numbers near these, none of them 0, whose sum is theirs where that can be."""
    counts = [math.floor(share + 1e-9) for share in shares]
    by_rest = sorted(range(len(shares)), key=lambda i: counts[i] - shares[i])
    for i in by_rest[: round(sum(shares)) - sum(counts)]:
        counts[i] += 1
    return [max(count, 1) for count in counts]


def loader_of(
    examples: Examples, config: BatchConfig, *, seed: int, columns: Columns, data: DataConfig | None = None
) -> Loader:  # fmt: skip
    """Returns the batches of a split. data: where the shares of its sources are, if it is trained on."""
    if not columns.sources:
        return Loader(examples, config, seed=seed)
    mixture = data if isinstance(data, Mixture) else None
    return MixedLoader(examples, config, seed=seed, columns=columns, mixture=mixture)
