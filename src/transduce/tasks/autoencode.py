"""Autoencoding: a picture through few numbers and back, so that others draw in these numbers.

Tested in tests/tasks/test_autoencode.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray

from transduce.data import looked_at
from transduce.data.columns import Columns
from transduce.data.images import IMAGE
from transduce.data.pictured import Pictured, PictureRows
from transduce.data.readers.files import named
from transduce.data.readers.latents import Codec
from transduce.data.readers.reader import Reader, Readers
from transduce.data.source import DataConfig
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.measures.reconstruction import PSNR, Errors, decibels
from transduce.tasks.picturing import MIDDLE, as_bytes, centred
from transduce.tasks.seeing import AT_ONCE, SeeingConfig
from transduce.tasks.task import Split, TaskConfig


@dataclass(frozen=True, kw_only=True)
class AutoencodeConfig(SeeingConfig):
    """A picture, and the same picture made of its latents. Pixels are numbers from -1, black, to 1, white."""

    kind: ClassVar[str] = "autoencode"
    reads: ClassVar[tuple[str, ...]] = (IMAGE,)
    verb: ClassVar[str] = "predict"
    shape: ClassVar[str] = "autoencoder"
    unit: ClassVar[str] = "picture"
    gives: ClassVar[str] = "reconstruction"
    reads_text: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mean or self.deviation:
            raise UserError("task=autoencode reads pixels as numbers from -1 to 1; leave out task.mean and deviation")

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "autoencode"

    def suited(self, data: DataConfig) -> Self:
        return self if IMAGE in (data.gives or ()) else super().suited(data)

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {IMAGE: centred(self.unfitted().fit(train[IMAGE], IMAGE))}

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return looked_at.examined(splits, IMAGE, None)

    def size(self, readers: Readers) -> int:
        return readers[IMAGE].size

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for pictures of this size. Raises UserError."""
        return self.seen_by(model, readers)

    def check(self, model: Model, readers: Readers) -> None:
        own = self.reader(readers)
        if model.latent_shape is None:
            raise UserError("task=autoencode makes pictures of their latents; use model.kind=autoencoder")
        assert model.head is not None
        if model.head.size != own.channels * own.height * own.width:
            raise UserError(f"model.head.channels is not {own.channels}, as pictures have; leave it out")

    def examples(self, columns: Columns, readers: Readers) -> Pictured:
        none = np.full(len(columns), -1, dtype=np.int64)
        return Pictured.of(named(columns[IMAGE], IMAGE), none, self.reader(readers), IMAGE, self.augment)

    def measures(self) -> tuple[Measure, ...]:
        return (PSNR(),)

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[list[Any]]:  # fmt: skip
        """Returns the bytes of the reconstruction of each picture, the path of a file."""
        own, codec = self.reader(readers), Autoencoding(model, readers)
        numbers = [own.encode([value], IMAGE) for value in named(inputs, IMAGE)]
        return [as_bytes(codec.decode(codec.encode(one)))[0].tolist() for one in numbers]

    @torch.inference_mode()
    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns the errors of all rows, since they cost no more than the loss; none where limit is 0."""
        if limit == 0:
            return []
        pictures = cast(Pictured, split.examples)
        rows, out = PictureRows(pictures, AT_ONCE), list[Sample]()
        for group in rows.fixed():
            x = rows.build(group).to(model.device).inputs.to(model.dtype)
            y = model.from_latents(model.to_latents(x).mean).clamp(-1, 1)
            colour = x.mean((2, 3), keepdim=True).expand_as(x)
            errors = [((x - z) * MIDDLE).double().square().flatten(1).mean(1).tolist() for z in (y, colour)]
            for row, *each in zip(group[:, 0].tolist(), *errors, strict=True):
                line = f"{decibels(each[0]):.2f} dB"
                out.append(Sample(str(pictures.values[row]), "", line, None, Errors(*each)))
        return out

    def line(self, prediction: Any) -> str:
        return " ".join(map(str, np.array(prediction).reshape(-1).tolist()))


class Autoencoding:
    """`Codec` of a model."""

    def __init__(self, model: Model, readers: Readers) -> None:
        assert model.latent_shape is not None
        self.model, self.form = model, model.latent_shape
        self.pictures = cast(Any, readers[IMAGE])

    @torch.inference_mode()
    def encode(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        x = torch.from_numpy(numbers).to(self.model.device, self.model.dtype)
        return self.model.to_latents(x).mean.float().cpu().numpy()

    @torch.inference_mode()
    def decode(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = torch.from_numpy(latents).to(self.model.device, self.model.dtype)
        return torch.cat([self.model.from_latents(row[None]) for row in rows]).float().cpu().numpy()


def codec_of(task: TaskConfig, model: Model, readers: Readers, path: Path) -> Codec:
    """Returns the autoencoder of a run. Raises UserError where it is none."""
    if not isinstance(task, AutoencodeConfig):
        what = f"task.latents={path} was trained for task={task.kind}, which makes no latents"
        raise UserError(f"{what}; train a run that does: transduce train autoencode data.path=PICTURES")
    return Autoencoding(model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), readers)
