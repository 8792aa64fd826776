"""The three ways to fill rows: one text each, several texts each, or windows of one long stream.

Each says how an epoch is cut into batches (`plan`, random), how an evaluation is (`fixed`), and how a batch is built.
"""

from typing import Protocol, TypeVar

import numpy as np

from transduce.data import order, pieces
from transduce.data.examples import Ids, Index
from transduce.data.pieces import Pieces
from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.layout import dense, right_padded

POOL = 65_536  # examples sorted together: enough for full batches of one length, few enough to stay mixed

G = TypeVar("G")


class Rows(Protocol[G]):
    """G is one batch before it is built: a list or an array with one item per row."""

    @property
    def shape(self) -> tuple[int, int]:
        """Returns tokens of a usual row: of its source (0: it has none), and of its target.

        The order does not matter.
        """
        ...

    def plan(self, rng: np.random.Generator) -> list[G]: ...

    def fixed(self) -> list[G]: ...

    def build(self, group: G) -> Batch: ...


class Padded:
    """One piece per row, pieces of like lengths in a batch."""

    def __init__(self, pieces: Pieces, budget: int) -> None:
        self.pieces, self.budget = pieces, budget

    @property
    def shape(self) -> tuple[int, int]:
        source, target = self.pieces.lengths
        return round(float(source.mean())), round(float(target.mean()))

    def plan(self, rng: np.random.Generator) -> list[Index]:
        source, target = self.pieces.lengths
        batches = order.cut(order.bucket(source, target, rng, POOL), source, target, self.budget)
        return [batches[i] for i in rng.permutation(len(batches))]

    def fixed(self) -> list[Index]:
        source, target = self.pieces.lengths
        return order.cut(np.lexsort((target, source)), source, target, self.budget)

    def build(self, group: Index) -> Batch:
        return self.pieces.padded(group)


class Packed:
    """Rows filled with pieces up to `width` slots on each side."""

    def __init__(self, pieces: Pieces, budget: int, width: int) -> None:
        self.pieces, self.budget, self.width = pieces, budget, width

    @property
    def shape(self) -> tuple[int, int]:
        source, target = (float(side.mean()) for side in self.pieces.lengths)
        full = self.width / max(source, target)
        return round(full * source), round(full * target)

    def plan(self, rng: np.random.Generator) -> list[list[Index]]:
        source, target = self.pieces.lengths
        rows = order.pack(rng.permutation(len(target)), source, target, self.width)
        source, target = (np.array([side[row].sum() for row in rows], dtype=np.int64) for side in (source, target))
        batches = order.cut(np.arange(len(rows), dtype=np.int64), source, target, self.budget)
        return [[rows[r] for r in batches[i]] for i in rng.permutation(len(batches))]

    def fixed(self) -> list[list[Index]]:
        return [[batch[i : i + 1] for i in range(len(batch))] for batch in Padded(self.pieces, self.budget).fixed()]

    def build(self, group: list[Index]) -> Batch:
        alone = all(len(row) == 1 for row in group)
        return self.pieces.padded(np.concatenate(group)) if alone else self.pieces.packed(group)


class Windows:
    """A stream cut every `width` tokens, somewhere else in each epoch. Rows have no padding, no start and no end.

    A batch names its rows by where they start in the stream.
    """

    def __init__(self, stream: Ids, budget: int, width: int) -> None:
        self.stream, self.width, self.rows = stream, width, max(1, budget // width)

    @property
    def shape(self) -> tuple[int, int]:
        return 0, self.width

    def plan(self, rng: np.random.Generator) -> list[Index]:
        """Returns whole windows only, so an epoch leaves out up to `width` tokens at either end. Raises UserError."""
        room = len(self.stream) - self.width
        if room < 1:
            raise UserError(
                f"the training text has {len(self.stream)} tokens, too few for one row of max_length={self.width} and "
                f"the token after it; set batch.max_length to at most {max(1, len(self.stream) - 1)}"
            )
        starts = np.arange(rng.integers(min(self.width, room)), room, self.width)
        starts = rng.permutation(starts)
        return [starts[i : i + self.rows] for i in range(0, len(starts), self.rows)]

    def fixed(self) -> list[Index]:
        """Returns rows in which every token but the first is a target once; the last may be short. Raises UserError."""
        if len(self.stream) < 2:
            raise UserError(f"the text has {len(self.stream)} tokens, but predicting takes two; give a longer text")
        starts = np.arange(0, len(self.stream) - 1, self.width)
        return [starts[i : i + self.rows] for i in range(0, len(starts), self.rows)]

    def last(self, group: Index) -> Index:
        """Returns where the text of each row ends in the stream."""
        return np.full(len(group), len(self.stream) - 1)

    def build(self, group: Index) -> Batch:
        last = self.last(group)
        lengths = np.minimum(last - group, self.width)
        at: Index = group[:, None] + np.arange(int(lengths.max()), dtype=np.int64)
        whole = bool(lengths.min() == lengths.max())
        layout = dense(len(group), at.shape[1]) if whole else right_padded(pieces.tensor(lengths), at.shape[1])
        inputs = self.stream[np.minimum(at, last[:, None])].astype(np.int64)
        targets = self.stream[np.minimum(at + 1, last[:, None])].astype(np.int64)
        if not whole:
            targets[~layout.valid.numpy()] = -1
        return Batch(pieces.tensor(inputs), layout, pieces.tensor(targets), examples=tuple(group.tolist()))
