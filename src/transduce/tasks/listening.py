"""The part that tasks share which read sounds: their frames, the stem that reads these, and how files are named.

Tested in tests/tasks/test_hear.py.
"""

from abc import ABC
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transduce.data.augment.augment import AugmentConfig, require_changes
from transduce.data.heard import stacked
from transduce.data.readers.files import expanded, named
from transduce.data.readers.log_mel import LogMel
from transduce.data.readers.reader import Readers
from transduce.data.sounds import SOUND
from transduce.data.waves import name_of
from transduce.errors import UserError
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.batch import Batch
from transduce.model.embed.adaptive import AdaptiveEmbeddingConfig
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.frames import FramesConfig
from transduce.model.embed.table import TableConfig
from transduce.model.layout import Layout
from transduce.model.models import Model
from transduce.tasks.task import TaskConfig

Frames = NDArray[np.float32]
SLOTS = 16_384  # frames of a batch of sounds that are heard together, where there is a GPU


@dataclass(frozen=True, kw_only=True)
class ListeningConfig(TaskConfig, ABC):
    """The keys that tasks share which read sounds.

    features: what is computed of a sound, such as features.mels=80 or features.convention=whisper; what is left out
        follows from the training data.
    augment: changes at random of each sound in training, such as [spec-mask]; the same in every run of one seed.
    """

    unit: ClassVar[str] = "sound"
    shape: ClassVar[str] = "encoder"
    hears: ClassVar[bool] = True
    features: LogMel = field(default_factory=LogMel)
    augment: tuple[AugmentConfig, ...] = ()

    def __post_init__(self) -> None:
        require_changes(self.augment, "frames")

    def reader(self, readers: Readers) -> LogMel:
        return cast(LogMel, readers[SOUND])

    def size(self, readers: Readers) -> int:
        return readers[SOUND].size

    def remarks(self, readers: Readers) -> list[str]:
        own = self.reader(readers)
        what = f"{own.mels} mels every {own.hop:g} ms, {own.rate:,} samples a second, as convention={own.convention}"
        return [f"sounds are read as {what}"]

    def stemmed(self, model: ModelConfig) -> ModelConfig:
        """Returns the same with a stem for frames where it is made for ids. Raises UserError for two stacks."""
        if isinstance(model, EncoderDecoderConfig):
            what = f"task={self.kind} reads a sound with one stack, but model.kind={model.kind} has two"
            raise UserError(f"{what}; choose model.kind=encoder, or decoder")
        return replace(model, embedding=stem(model.embedding))

    def expand(self, words: Sequence[str]) -> list[str]:
        """Returns the sounds that words of a command stand for. Raises UserError where one stands for none."""
        return expanded(words, name_of, "sound")

    def frames(self, readers: Readers, inputs: Sequence[Any]) -> list[Frames]:
        """Returns (T, mels) of files. Raises UserError."""
        reader = self.reader(readers)
        return [reader.one(value) for value in named(inputs, SOUND, "sound")]

    def looks_at(self, readers: Readers, text: str, answer: str | None) -> tuple[list[int] | None, list[int]]:
        raise UserError(f"this model was trained for task={self.kind}, which reads sounds, not text; use {self.verb}")

    def heard(self, model: Model, sounds: Iterable[Frames]) -> list[tuple[Tensor, Layout]]:
        """Returns hidden states and their layout of each sound, in order: (1, T, M).

        On a CPU each is read alone, so that what else is asked does not change a bit of it.
        """
        out = list[tuple[Tensor, Layout]]()
        for group in groups(sounds, model.device):
            frames, layout = stacked(group)
            batch = Batch(frames, layout, frames).to(model.device)
            hidden, arranged = model.features(batch), model.arranged(batch.layout)
            rows = torch.arange(len(group), device=model.device)[:, None]
            out += [(hidden[row], arranged.rows(row)) for row in rows]
        return out


def stem(embedding: EmbeddingConfig) -> EmbeddingConfig:
    """Returns a stem for frames in the place of an embedding of ids."""
    return FramesConfig() if isinstance(embedding, TableConfig | AdaptiveEmbeddingConfig) else embedding


def groups(rows: Iterable[Frames], device: torch.device) -> list[list[Frames]]:
    """Returns rows that are read together: on a CPU each alone, elsewhere neighbours of at most `SLOTS` frames."""
    out = list[list[Frames]]()
    for row in rows:
        few = device.type != "cpu" and out and (len(out[-1]) + 1) * max(map(len, [*out[-1], row])) <= SLOTS
        if few:
            out[-1].append(row)
        else:
            out.append([row])
    return out
