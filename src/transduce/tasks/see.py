"""Seeing: which of a few labels a picture has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch

from transduce.data import looked_at
from transduce.data.columns import Columns
from transduce.data.images import IMAGE
from transduce.data.pictured import Pictured, PictureRows
from transduce.data.readers.files import named
from transduce.data.readers.labels import Labels
from transduce.data.readers.reader import Reader, Readers
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.model.embed.pictures import PictureEmbeddingConfig
from transduce.model.models import Model
from transduce.tasks.classifying import LABEL, Classified, ClassifyingConfig
from transduce.tasks.measures.measure import Sample
from transduce.tasks.seeing import AT_ONCE, SeeingConfig
from transduce.tasks.task import Split


@dataclass(frozen=True, kw_only=True)
class SeeConfig(SeeingConfig, ClassifyingConfig):
    """A picture, and one of a few labels."""

    kind: ClassVar[str] = "see"
    reads: ClassVar[tuple[str, ...]] = (IMAGE, LABEL)
    unit: ClassVar[str] = "picture"
    reads_text: ClassVar[bool] = False

    def __post_init__(self) -> None:
        ClassifyingConfig.__post_init__(self)
        SeeingConfig.__post_init__(self)

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {IMAGE: self.unfitted().fit(train[IMAGE], IMAGE), LABEL: self.labels(train)}

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return looked_at.examined(splits, IMAGE, LABEL)

    def remarks(self, readers: Readers) -> list[str]:
        return [*SeeingConfig.remarks(self, readers), *ClassifyingConfig.remarks(self, readers)]

    def size(self, readers: Readers) -> int:
        return readers[IMAGE].size

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for pictures of this size, in patches where it is made for ids, with a head of classes."""
        model = self.seen_by(model, readers)
        first = isinstance(model.embedding, PictureEmbeddingConfig) and model.embedding.class_token
        return self.with_head(model, readers, ("first",) if first else ("mean",))

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
