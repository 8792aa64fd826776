"""Labelled pictures as batches of equal pictures, changed at random in training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transduce.data import pieces
from transduce.data.augment.augment import AugmentConfig, augmented
from transduce.data.examples import Index, Ragged
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.readers.latents import Latents
from transduce.data.readers.pictures import Pictures
from transduce.data.rows import Rows
from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.layout import dense

HELD = 1 << 30  # bytes of pictures that are kept decoded; of more, each is decoded when it is its turn
NONE = -1  # in the place of an epoch's number: the picture as it is


@dataclass(frozen=True)
class Pictured:
    """Pictures, and a number that belongs to each.

    pixels: all of them, (rows, C, H, W) bytes; None: they are decoded when they are wanted.
    latents: of all of them as they are, (rows, c, h, w), where the reader makes any; None: made when they are wanted.
    """

    values: Sequence[str]
    targets: Index
    reader: Pictures | Latents
    column: str
    pixels: NDArray[np.uint8] | None
    augment: tuple[AugmentConfig, ...] = ()
    latents: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls, values: Sequence[str], targets: Index, reader: Pictures | Latents, column: str,
        augment: tuple[AugmentConfig, ...]
    ) -> "Pictured":  # fmt: skip
        """Decodes what fits into memory, so that a broken picture is refused before anything is learnt."""
        own = reader.pictures if isinstance(reader, Latents) else reader
        if len(values) * own.channels * own.height * own.width > HELD:
            return cls(values, targets, reader, column, None, augment)
        pixels = reader.pixels(values, column)
        latents = reader.ready(pixels) if isinstance(reader, Latents) else None
        return cls(values, targets, reader, column, pixels, augment, latents)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {}

    def cuts(self, config: BatchConfig) -> bool:
        return False

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            raise UserError("batch.packing=true puts several texts in a row, but a picture has its own; leave it out")
        return PictureRows(self, config.batch_tokens)

    def bytes(self, rows: Index) -> NDArray[np.uint8]:
        """Returns (B, C, H, W)."""
        if self.pixels is not None:
            return self.pixels[rows]
        return np.stack([self.reader.one(str(self.values[int(i)])) for i in rows])


class PictureRows:
    """`most` pictures a batch. A group is (B, 2): which examples, and the number of the epoch, by which they change."""

    def __init__(self, examples: Pictured, most: int) -> None:
        self.examples, self.most = examples, most

    @property
    def shape(self) -> tuple[int, int]:
        return 0, 1

    def plan(self, rng: np.random.Generator) -> list[Index]:
        epoch = int(rng.integers(2**62))
        return self.groups(rng.permutation(len(self.examples)), epoch)

    def fixed(self) -> list[Index]:
        return self.groups(np.arange(len(self.examples)), NONE)

    def groups(self, order: Index, epoch: int) -> list[Index]:
        both = np.stack([order, np.full(len(order), epoch, dtype=np.int64)], 1)
        return [both[i : i + self.most] for i in range(0, len(both), self.most)]

    def build(self, group: Index) -> Batch:
        examples, rows = self.examples, group[:, 0]
        if examples.augment and len(group) and int(group[0, 1]) != NONE:
            some = [
                augmented(picture, examples.augment, int(epoch), int(row))
                for picture, (row, epoch) in zip(examples.bytes(rows), group.tolist(), strict=True)
            ]
            numbers = examples.reader.numbers(np.stack(some))
        elif examples.latents is not None:
            numbers = examples.latents[rows]
        else:
            numbers = examples.reader.numbers(examples.bytes(rows))
        inputs = pieces.tensor(numbers)
        targets = pieces.tensor(examples.targets[rows])
        return Batch(inputs, dense(len(group), 1), targets, examples=tuple(rows.tolist()))
