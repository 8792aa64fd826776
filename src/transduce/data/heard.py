"""Sounds as batches of frames, changed at random in training, and what belongs to each: a class, or a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transduce.data import order, pieces, waves
from transduce.data.augment.augment import AugmentConfig, augmented
from transduce.data.columns import TEXT
from transduce.data.examples import Index, Ragged
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.readers.files import each
from transduce.data.readers.log_mel import LogMel
from transduce.data.rows import POOL, Rows
from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.layout import dense, right_padded

HELD = 1 << 30  # bytes of frames that are kept; of more, each sound is read when it is its turn
NONE = -1  # in the place of an epoch's number: the sound as it is


@dataclass(frozen=True)
class Heard:
    """Sounds, and what belongs to each.

    targets: (rows,) classes, or the ids of a text; a sound whose text is learnt is never cut off.
    slots: (rows,) the frames of each.
    frames: all of them; None: a sound is read when it is wanted.
    """

    values: Sequence[str]
    targets: Index | Ragged
    reader: LogMel
    slots: Index
    frames: Ragged | None
    augment: tuple[AugmentConfig, ...] = ()

    @classmethod
    def of(
        cls, values: Sequence[str], targets: Index | Ragged, reader: LogMel, column: str,
        augment: tuple[AugmentConfig, ...] = (),
    ) -> "Heard":  # fmt: skip
        """Reads what fits into memory, so that a broken sound is refused before anything is learnt."""
        lengths = each(lambda value: reader.frames(waves.head(value)), values)
        slots = np.array(lengths, dtype=np.int64)
        frames = reader.encode(values, column) if 4 * int(slots.sum()) * reader.mels <= HELD else None
        return cls(values, targets, reader, slots, frames, augment)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {TEXT: self.targets} if isinstance(self.targets, Ragged) else {}

    def cuts(self, config: BatchConfig) -> bool:
        return not isinstance(self.targets, Ragged) or config.overlong == "drop"

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            raise UserError("batch.packing=true puts several texts in a row, but a sound has its own; leave it out")
        whole = isinstance(self.targets, Ragged) and not drop
        return FrameRows(self, config.batch_tokens, None if whole else config.max_length, drop=drop)

    def of_row(self, row: int) -> NDArray[np.float32]:
        """Returns (T, mels)."""
        return self.reader.one(str(self.values[row])) if self.frames is None else self.frames[row]


class FrameRows:
    """A sound per row, of like lengths in a batch.

    A group is (B, 2): which examples, and the number of the epoch, by which they change.
    """

    def __init__(self, examples: Heard, budget: int, limit: int | None, *, drop: bool) -> None:
        """Makes rows of at most `limit` frames (None: of any number). drop: what is longer is left out."""
        self.examples, self.budget, self.limit = examples, budget, limit
        fits = examples.slots <= limit if drop and limit is not None else np.ones(len(examples), dtype=bool)
        self.chosen = np.flatnonzero(fits)
        self.lengths = np.minimum(examples.slots, limit or examples.slots.max(initial=1))[self.chosen]

    @property
    def shape(self) -> tuple[int, int]:
        return 0, round(float(self.lengths.mean())) if len(self.lengths) else 1

    def plan(self, rng: np.random.Generator) -> list[Index]:
        epoch, none = int(rng.integers(2**62)), np.zeros_like(self.lengths)
        batches = order.cut(order.bucket(none, self.lengths, rng, POOL), none, self.lengths, self.budget)
        shuffled: list[int] = rng.permutation(len(batches)).tolist()
        return [self.group(batches[i], epoch) for i in shuffled]

    def fixed(self) -> list[Index]:
        none = np.zeros_like(self.lengths)
        batches = order.cut(np.argsort(self.lengths, kind="stable"), none, self.lengths, self.budget)
        return [self.group(batch, NONE) for batch in batches]

    def group(self, numbers: Index, epoch: int) -> Index:
        return np.stack([self.chosen[numbers], np.full(len(numbers), epoch, dtype=np.int64)], 1)

    def build(self, group: Index) -> Batch:
        examples, rows = self.examples, list[NDArray[np.float32]]()
        for row, epoch in group.tolist():
            frames = examples.of_row(row)[: self.limit]
            rows.append(frames if epoch == NONE else augmented(frames, examples.augment, epoch, row))
        numbers = group[:, 0]
        inputs, layout = stacked(rows)
        if isinstance(examples.targets, Ragged):
            texts = [examples.targets[int(row)] for row in numbers]
            targets = np.full((len(texts), max(1, *(len(text) for text in texts))), -1, dtype=np.int64)
            for own, ids in zip(targets, texts, strict=True):
                own[: len(ids)] = ids
        else:
            targets = examples.targets[numbers]
        return Batch(inputs, layout, pieces.tensor(targets), examples=tuple(numbers.tolist()))


def stacked(rows: Sequence[NDArray[np.float32]]) -> tuple[Any, Any]:
    """Returns (B, T, F) frames with zeros behind the shorter ones, and their layout."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    out = np.zeros((len(rows), int(lengths.max()), rows[0].shape[1]), dtype=np.float32)
    for own, row in zip(out, rows, strict=True):
        own[: len(row)] = row
    full = int(lengths.min()) == out.shape[1]
    layout = dense(*out.shape[:2]) if full else right_padded(pieces.tensor(lengths), out.shape[1])
    return pieces.tensor(out), layout
