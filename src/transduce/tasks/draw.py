"""Drawing: pictures like those of the data, of a label that is asked for.

Tested in tests/tasks/test_draw.py.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from transduce.data.augment.augment import AugmentConfig
from transduce.data.columns import Columns
from transduce.data.images import IMAGE
from transduce.data.pictured import Pictured
from transduce.data.pictures import Resample, require_pillow
from transduce.data.readers.labels import SHOWN, Labels
from transduce.data.readers.pictures import Pictures
from transduce.data.readers.reader import Reader, Readers
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.diffuse import DiffuseConfig
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.denoiser import DenoiserConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.heads.pixels import PixelsHeadConfig
from transduce.model.models import Model
from transduce.tasks.classifying import LABEL
from transduce.tasks.drawing import DrawingConfig, numbered
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.see import SeeConfig
from transduce.tasks.task import Split

GAP = 2  # pixels between the pictures of a grid
MIDDLE = 0.5  # of bytes over 255: mean and deviation, so that numbers of pixels go from -1 to 1
Picture = NDArray[np.uint8]  # (H, W), or (H, W, 3)


@dataclass(frozen=True, kw_only=True)
class DrawConfig(DrawingConfig):
    """A label, and a picture that is drawn of it. Pixels are numbers from -1, black, to 1, white.

    pixels: the side in which pictures are read and drawn, or height and width (None: as task=see has it).
    channels: 3 for red, green and blue, 1 for grey (None: 1 where no picture has colours).
    fit_by: how a picture of another size gets this one: "cover" takes its middle, "stretch" all of it.
    resample: how pixels are interpolated.
    background: what is behind transparent pixels, from 0, black, to 255, white.
    augment: changes at random of each picture in training, such as [flip]; what is drawn has them, too.
    """

    kind: ClassVar[str] = "draw"
    reads: ClassVar[tuple[str, ...]] = (IMAGE, LABEL)
    unit: ClassVar[str] = "picture"
    gives: ClassVar[str] = "picture"
    sees: ClassVar[bool] = True
    together: ClassVar[int] = 16
    pixels: int | tuple[int, ...] | None = None
    channels: int | None = None
    fit_by: Literal["cover", "stretch"] = "cover"
    resample: Resample = "bilinear"
    background: int = 255
    augment: tuple[AugmentConfig, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seeing()

    def seeing(self) -> SeeConfig:
        """Returns the task that reads the same pictures, with the same labels."""
        return SeeConfig(
            pixels=self.pixels, channels=self.channels, fit_by=self.fit_by, resample=self.resample,
            background=self.background, augment=self.augment,
        )  # fmt: skip

    def readers(self, train: Columns) -> dict[str, Reader]:
        own = self.seeing().readers(train)
        pictures, middle = cast(Pictures, own[IMAGE]), (MIDDLE,) * own[IMAGE].size
        return {**own, IMAGE: replace(pictures, mean=middle, deviation=middle)}

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return self.seeing().examined(splits)

    def remarks(self, readers: Readers) -> list[str]:
        return self.seeing().remarks(readers)[:1]

    def inputs(self, columns: Columns) -> Sequence[Any]:
        return [f"{label}#{number}" for number, label in enumerate(columns[LABEL])]

    def size(self, readers: Readers) -> int:
        return readers[IMAGE].size

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for pictures of this size, in patches, with these labels. Raises UserError."""
        model = self.seeing().seen_by(model, readers)
        if not isinstance(model, DenoiserConfig):
            return model
        count, form, patch = readers[LABEL].size, self.form(readers), None
        if isinstance(model.embedding, PatchesConfig):
            patch, stride = model.embedding.pixels((form[1], form[2]))
            if patch != stride:
                raise UserError(
                    f"model.embedding.stride={stride} has patches overlap, which makes no picture; leave it out"
                )
        if model.classes not in (None, count):
            raise UserError(f"model.classes={model.classes}, but the data have {count} labels; leave it out")
        head = model.head if isinstance(model.head, PixelsHeadConfig) else PixelsHeadConfig()
        if head.picture not in (None, form[1:]):
            have, here = (" x ".join(map(str, sides)) for sides in (head.picture, form[1:]))
            raise UserError(f"model.head.picture is {have}, but pictures are read in {here} pixels; leave it out")
        head = replace(head, picture=form[1:], patch=head.patch or patch)
        return replace(model, head=head, classes=count)

    def check(self, model: Model, readers: Readers) -> None:
        super().check(model, readers)
        if model.head is None or model.head.size < math.prod(self.form(readers)):
            raise UserError(f"task={self.kind} predicts all pixels of a picture; set model.head=pixels")

    def form(self, readers: Readers) -> tuple[int, ...]:
        own = cast(Pictures, readers[IMAGE])
        return own.channels, own.height, own.width

    def class_of(self, readers: Readers, label: Any) -> int:
        own = cast(Labels, readers[LABEL])
        name = own.name_of(label)
        if name not in own.names:
            known = ", ".join(own.names[:SHOWN]) + (", ..." if own.size > SHOWN else "")
            raise UserError(f"this model was never trained on the label {name!r}; it draws {known}")
        return own.names.index(name)

    def manner(self, **changes: Any) -> DiffuseConfig:
        return replace(super().manner(**changes), limit=1.0)

    def shown(self, readers: Readers, numbers: Tensor) -> list[Picture]:
        x = np.rint((numbers.numpy() * MIDDLE + MIDDLE) * 255).clip(0, 255).astype(np.uint8)
        return [one[0] if len(one) == 1 else np.ascontiguousarray(one.transpose(1, 2, 0)) for one in x]

    def examples(self, columns: Columns, readers: Readers) -> Pictured:
        return self.seeing().examples(columns, readers)

    def measures(self) -> tuple[Measure, ...]:
        return ()

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[list[Any]]:  # fmt: skip
        """Returns the bytes of a picture of each label, or LABEL#7, its picture number 7 (0 where none is said)."""
        parts = [str(one).rpartition("#") if "#" in str(one) else (str(one), "", "0") for one in inputs]
        rows: list[list[Any]] = [[] for _ in inputs]
        for label in dict.fromkeys(label for label, _, _ in parts):
            places = [i for i, part in enumerate(parts) if part[0] == label]
            numbers = [numbered(parts[i][2]) for i in places]
            drawn = self.draw(model, readers, label, numbers, self.manner(), options.seed)
            for place, picture in zip(places, drawn, strict=True):
                rows[place] = picture.tolist()
        return rows

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns none: pictures are looked at, and a validation has its loss."""
        return []

    def line(self, prediction: Any) -> str:
        return " ".join(map(str, np.array(prediction).reshape(-1).tolist()))

    def require_place(self, path: Path | None) -> None:
        if path is None:
            raise UserError("pictures are written to files; add --out grid.png, or --out and a folder")
        if path.suffix not in (".png", ""):
            raise UserError(f"--out {path} is neither a grid.png nor a folder; write it as one of them")
        require_pillow()

    def write(self, rows: Sequence[Sequence[Picture]], labels: Sequence[Any], path: Path) -> list[list[str]]:
        from PIL import Image

        if path.suffix == ".png":
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grid(rows)).save(path)
            return [[str(path)] * len(row) for row in rows]
        places = list[list[str]]()
        for label, row in zip(labels, rows, strict=True):
            folder = path / ("none" if label is None else str(label).replace("/", "_"))
            folder.mkdir(parents=True, exist_ok=True)
            files = [folder / f"{number:05d}.png" for number in range(len(row))]
            for file, picture in zip(files, row, strict=True):
                Image.fromarray(picture).save(file)
            places.append([str(file) for file in files])
        return places


def grid(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Returns pictures beside and below one another, a row for each label; of one label, as nearly square as can be."""
    if len(rows) == 1:
        side = math.ceil(len(rows[0]) ** 0.5)
        rows = [rows[0][start : start + side] for start in range(0, len(rows[0]), side)]
    height, width = rows[0][0].shape[:2]
    high, wide = len(rows) * (height + GAP) - GAP, len(rows[0]) * (width + GAP) - GAP
    out = np.full((high, wide, *rows[0][0].shape[2:]), 128, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            y, x = i * (height + GAP), j * (width + GAP)
            out[y : y + height, x : x + width] = picture
    return out
