"""The part that tasks share which read pictures: how they are read, the patches that are made of them, and their files.

Tested in tests/tasks/test_laws.py and tests/tasks/test_see.py.
"""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

from transduce.data.augment.augment import AugmentConfig, require_changes
from transduce.data.images import IMAGE
from transduce.data.pictures import Resample, name_of
from transduce.data.readers.files import expanded
from transduce.data.readers.pictures import Pictures
from transduce.data.readers.reader import Readers
from transduce.errors import UserError, require_at_least
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.embed.adaptive import AdaptiveEmbeddingConfig
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.embed.pictures import PictureEmbeddingConfig
from transduce.model.embed.table import TableConfig
from transduce.tasks.task import TaskConfig

AT_ONCE = 64  # pictures that are looked at together


@dataclass(frozen=True, kw_only=True)
class SeeingConfig(TaskConfig, ABC):
    """The keys that tasks share which read pictures.

    pixels: the side in which pictures are read, or height and width (None: their own where all have one size,
        else the median of their shorter sides, at most 224).
    channels: 3 for red, green and blue, 1 for grey (None: 1 where no picture has colours).
    fit_by: how a picture of another size gets this one: "cover" takes its middle, "stretch" all of it.
    resample: how pixels are interpolated.
    background: what is behind transparent pixels, from 0, black, to 255, white.
    mean: of each channel, of bytes over 255 (empty: that of the training data).
    deviation: the same of the standard deviation.
    augment: changes at random of each picture in training, such as [crop, flip]; the same in every run of one seed.
    """

    sees: ClassVar[bool] = True
    pixels: int | tuple[int, ...] | None = None
    channels: int | None = None
    fit_by: Literal["cover", "stretch"] = "cover"
    resample: Resample = "bilinear"
    background: int = 255
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    augment: tuple[AugmentConfig, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.pixels, tuple) and len(self.pixels) != 2:
            raise UserError(f"pixels={list(self.pixels)} is neither a side nor a height and a width, such as [28, 28]")
        require_at_least(1, pixels=min(self.pixels) if isinstance(self.pixels, tuple) else self.pixels)
        self.unfitted()
        require_changes(self.augment, "pictures")

    def unfitted(self) -> Pictures:
        """Returns the reader of pictures before it has seen any."""
        height, width = self.pixels if isinstance(self.pixels, tuple) else (self.pixels or 0, self.pixels or 0)
        return Pictures(
            height=height, width=width, channels=self.channels or 0, fit_by=self.fit_by, resample=self.resample,
            background=self.background, mean=self.mean, deviation=self.deviation,
        )  # fmt: skip

    def remarks(self, readers: Readers) -> list[str]:
        own = self.reader(readers)
        kind = "grey" if own.channels == 1 else "red, green and blue"
        return [f"pictures are read in {own.height} x {own.width} pixels, {kind}"]

    def reader(self, readers: Readers) -> Pictures:
        return cast(Pictures, readers[IMAGE])

    def seen_by(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for pictures of this size, in patches where it is made for ids. Raises UserError."""
        embedding = self.embedded(model.embedding, readers)
        return model if isinstance(model, EncoderDecoderConfig) else replace(model, embedding=embedding)

    def embedded(self, embedding: EmbeddingConfig, readers: Readers) -> EmbeddingConfig:
        """Returns an embedding for pictures of this size. Raises UserError where it is made for others."""
        reader = self.reader(readers)
        own = (reader.height, reader.width)
        if isinstance(embedding, TableConfig | AdaptiveEmbeddingConfig):
            embedding = PatchesConfig()
        if not isinstance(embedding, PictureEmbeddingConfig):
            return embedding
        if embedding.picture not in (None, own):
            have = " x ".join(map(str, embedding.picture))
            what = f"model.embedding.picture is {have}, but pictures are read in {own[0]} x {own[1]} pixels"
            raise UserError(f"{what}; leave it out, or set task.pixels={list(embedding.picture)}")
        return replace(embedding, picture=own)

    def expand(self, words: Sequence[str]) -> list[str]:
        """Returns the pictures that words of a command stand for: files, globs, and all pictures in a folder.

        Raises UserError where one stands for none.
        """
        return expanded(words, name_of, "picture")
