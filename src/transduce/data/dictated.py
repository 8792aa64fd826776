"""Sounds with texts as batches, for a model that hears a sound and writes its text.

Tested in tests/tasks/test_listener.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transduce.data import waves
from transduce.data.augment.augment import AugmentConfig
from transduce.data.captioned import WrittenRows
from transduce.data.columns import TEXT
from transduce.data.examples import Index, Ragged
from transduce.data.heard import FrameRows, Heard
from transduce.data.loader import BatchConfig
from transduce.data.pieces import Specials, whole
from transduce.data.readers.files import each
from transduce.data.readers.log_mel import LogMel
from transduce.data.rows import Rows


@dataclass(frozen=True)
class Dictated:
    """Sounds, and their texts as ids. Slots are frames and tokens.

    long: (rows,) whether a sound goes on where its reader stops, so that its text is not learnt.
    """

    sounds: Heard
    texts: Ragged
    specials: Specials
    long: NDArray[np.bool_]

    @classmethod
    def of(
        cls, values: Sequence[str], texts: Ragged, specials: Specials, reader: LogMel, column: str,
        augment: tuple[AugmentConfig, ...] = (),
    ) -> "Dictated":  # fmt: skip
        sounds = Heard.of(values, np.arange(len(values), dtype=np.int64), reader, column, augment)
        seconds = [head.seconds for head in each(waves.head, values)] if reader.seconds else []
        long = np.array([one > reader.seconds for one in seconds] or [False] * len(values), dtype=bool)
        return cls(sounds, texts, specials, long)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {TEXT: self.texts}

    @property
    def slots(self) -> Index:
        """Returns the slots of the longer side of each row, of which a reader with a length of its own bounds one."""
        texts = self.texts.lengths + 1
        return texts if self.sounds.reader.seconds else np.maximum(texts, self.sounds.slots)

    def cuts(self, config: BatchConfig) -> bool:
        return config.overlong == "drop" or bool((self.texts.lengths >= config.max_length).any())

    def windows(self, row: int) -> list[NDArray[np.float32]]:
        """Returns (T, mels) of each window of a sound."""
        sounds = self.sounds
        return sounds.reader.windows(str(sounds.values[row])) if self.long[row] else [sounds.of_row(row)]

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        """Returns rows without what is too long. Frames are bounded by `max_length` where no reader bounds them."""
        self.sounds.rows(config, drop=drop)  # refuses what sounds cannot be
        texts, keep = whole(self.texts, self.specials, config.max_length, drop), ~self.long
        if drop and not self.sounds.reader.seconds:
            keep = keep & (self.sounds.slots <= config.max_length)
        chosen = np.flatnonzero(keep[texts.example])
        target = texts.target._replace(starts=texts.target.starts[chosen], lengths=texts.target.lengths[chosen])
        texts = replace(texts, target=target, example=texts.example[chosen])
        budget = config.batch_tokens
        return WrittenRows(FrameRows(self.sounds, budget, None, drop=False), self.sounds.slots, texts, budget)
