"""Hearing: which of a few labels a sound has."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch

from transduce.data import listened
from transduce.data.columns import Columns
from transduce.data.examples import Index
from transduce.data.heard import Heard
from transduce.data.readers.labels import Labels
from transduce.data.readers.reader import Reader, Readers
from transduce.data.sounds import SOUND
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.tasks.classifying import LABEL, Classified, ClassifyingConfig
from transduce.tasks.listening import Frames, ListeningConfig
from transduce.tasks.measures.measure import Sample
from transduce.tasks.task import Split


@dataclass(frozen=True, kw_only=True)
class HearConfig(ListeningConfig, ClassifyingConfig):
    """A sound, and one of a few labels."""

    kind: ClassVar[str] = "hear"
    reads: ClassVar[tuple[str, ...]] = (SOUND, LABEL)
    reads_text: ClassVar[bool] = False

    def __post_init__(self) -> None:
        ListeningConfig.__post_init__(self)
        ClassifyingConfig.__post_init__(self)

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {SOUND: self.features.fit(train[SOUND], SOUND), LABEL: self.labels(train)}

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return listened.examined(splits, SOUND, LABEL)

    def remarks(self, readers: Readers) -> list[str]:
        return [*ListeningConfig.remarks(self, readers), *ClassifyingConfig.remarks(self, readers)]

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same with a stem for frames and a head of classes."""
        return self.with_head(self.stemmed(model), readers, ("mean",))

    def examples(self, columns: Columns, readers: Readers) -> Heard:
        targets = readers[LABEL].encode(columns[LABEL], LABEL)
        return Heard.of(columns[SOUND], targets, self.reader(readers), SOUND, self.augment)

    @torch.inference_mode()
    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[Classified]:  # fmt: skip
        """Returns the label of each sound, the path of a file."""
        return self.told(model, readers, self.frames(readers, inputs))

    def told(self, model: Model, readers: Readers, sounds: Iterable[Frames]) -> list[Classified]:
        scores = [model.pooled_head(*one)[0] for one in self.heard(model, sounds)]
        return [self.labelled(readers, cast("list[float]", row.cpu().numpy().tolist())) for row in scores]

    @torch.inference_mode()
    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns those of all rows, since they cost no more than the loss; none where limit is 0."""
        if limit == 0:
            return []
        names, sounds = cast(Labels, readers[LABEL]).names, cast(Heard, split.examples)
        answers = self.told(model, readers, map(sounds.of_row, range(len(sounds))))
        rows = zip(sounds.values, cast(Index, sounds.targets).tolist(), answers, strict=True)
        return [Sample(str(path), names[number], answer.label, answer) for path, number, answer in rows]
