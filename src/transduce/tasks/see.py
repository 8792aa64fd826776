"""Seeing: which of a few labels a picture has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch

from transduce.data import looked_at
from transduce.data.augment.augment import AugmentConfig, require_changes
from transduce.data.columns import Columns
from transduce.data.images import IMAGE
from transduce.data.pictured import Pictured, PictureRows
from transduce.data.pictures import Resample, name_of
from transduce.data.readers.files import expanded, named
from transduce.data.readers.labels import Labels
from transduce.data.readers.pictures import Pictures
from transduce.data.readers.reader import Reader, Readers
from transduce.errors import UserError, require_at_least
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.embed.adaptive import AdaptiveEmbeddingConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.embed.pictures import PictureEmbeddingConfig
from transduce.model.embed.table import TableConfig
from transduce.model.models import Model
from transduce.tasks.classifying import LABEL, Classified, ClassifyingConfig
from transduce.tasks.measures.measure import Sample
from transduce.tasks.task import Split

AT_ONCE = 64  # pictures that are classified together


@dataclass(frozen=True, kw_only=True)
class SeeConfig(ClassifyingConfig):
    """A picture, and one of a few labels.

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

    kind: ClassVar[str] = "see"
    reads: ClassVar[tuple[str, ...]] = (IMAGE, LABEL)
    unit: ClassVar[str] = "picture"
    reads_text: ClassVar[bool] = False
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
        super().__post_init__()
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

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {IMAGE: self.unfitted().fit(train[IMAGE], IMAGE), LABEL: self.labels(train)}

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return looked_at.examined(splits, IMAGE, LABEL)

    def remarks(self, readers: Readers) -> list[str]:
        own = self.reader(readers)
        kind = "grey" if own.channels == 1 else "red, green and blue"
        return [f"pictures are read in {own.height} x {own.width} pixels, {kind}", *super().remarks(readers)]

    def reader(self, readers: Readers) -> Pictures:
        return cast(Pictures, readers[IMAGE])

    def size(self, readers: Readers) -> int:
        return readers[IMAGE].size

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for pictures of this size, in patches where it is made for ids, with a head of classes."""
        model = self.seen_by(model, readers)
        first = isinstance(model.embedding, PictureEmbeddingConfig) and model.embedding.class_token
        return self.with_head(model, readers, ("first",) if first else ("mean",))

    def seen_by(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for pictures of this size, in patches where it is made for ids. Raises UserError."""
        reader = self.reader(readers)
        own = (reader.height, reader.width)
        embedding = model.embedding
        if isinstance(embedding, TableConfig | AdaptiveEmbeddingConfig):
            embedding = PatchesConfig()
        if isinstance(embedding, PictureEmbeddingConfig):
            if embedding.picture not in (None, own):
                have = " x ".join(map(str, embedding.picture))
                what = f"model.embedding.picture is {have}, but pictures are read in {own[0]} x {own[1]} pixels"
                raise UserError(f"{what}; leave it out, or set task.pixels={list(embedding.picture)}")
            embedding = replace(embedding, picture=own)
        return model if isinstance(model, EncoderDecoderConfig) else replace(model, embedding=embedding)

    def examples(self, columns: Columns, readers: Readers) -> Pictured:
        targets = readers[LABEL].encode(columns[LABEL], LABEL)
        return Pictured.of(columns[IMAGE], targets, self.reader(readers), IMAGE, self.augment)

    @torch.inference_mode()
    def logits(self, model: Model, pictures: Pictured) -> list[list[float]]:
        """Returns the logit of each class for each picture, computed in batches."""
        rows, out = PictureRows(pictures, AT_ONCE), list[list[float]]()
        for group in rows.fixed():
            batch = rows.build(group).to(model.device)
            scores = model.pooled_head(model.features(batch), model.arranged(batch.layout))
            out += cast("list[list[float]]", scores.cpu().numpy().tolist())
        return out

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[Classified]:  # fmt: skip
        """Returns the label of each picture: the path of a file, or FILE#17 for one of an idx file."""
        values = named(inputs, IMAGE)
        unknown = np.full(len(values), -1, dtype=np.int64)
        pictures = Pictured(values, unknown, self.reader(readers), IMAGE, None)
        return [self.labelled(readers, row) for row in self.logits(model, pictures)]

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns those of all rows, since they cost no more than the loss; none where limit is 0."""
        if limit == 0:
            return []
        names, pictures = cast(Labels, readers[LABEL]).names, cast(Pictured, split.examples)
        answers = [self.labelled(readers, row) for row in self.logits(model, pictures)]
        wanted: list[int] = pictures.targets.tolist()
        rows = zip(pictures.values, wanted, answers, strict=True)
        return [Sample(str(path), names[number], answer.label, answer) for path, number, answer in rows]

    def expand(self, words: Sequence[str]) -> list[str]:
        """Returns the pictures that words of a command stand for: files, globs, and all pictures in a folder.

        Raises UserError where one stands for none.
        """
        return expanded(words, name_of, "picture")
