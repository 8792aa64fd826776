"""The part that tasks share which draw pictures: how they are read and shown, the model's patches, and files.

Tested in tests/tasks/test_draw.py and tests/tasks/test_illustrate.py.
"""

import hashlib
import math
from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from transduce.data.augment.augment import AugmentConfig
from transduce.data.images import IMAGE
from transduce.data.pictures import Resample, require_pillow
from transduce.data.readers.latents import Latents
from transduce.data.readers.pictures import Pictures
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.diffuse import DiffuseConfig
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.denoiser import DenoiserConfig
from transduce.model.architecture.illustrator import IllustratorConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.heads.pixels import PixelsHeadConfig
from transduce.model.models import Model
from transduce.tasks.drawing import DrawingConfig, numbered
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.see import SeeConfig
from transduce.tasks.seeing import SeeingConfig
from transduce.tasks.task import Split

LONGEST = 200  # bytes of the name of a folder
GAP = 2  # pixels between the pictures of a grid
MIDDLE = 0.5  # of bytes over 255: mean and deviation, so that numbers of pixels go from -1 to 1
Picture = NDArray[np.uint8]  # (H, W), or (H, W, 3)


@dataclass(frozen=True, kw_only=True)
class PicturingConfig(DrawingConfig, ABC):
    """The keys that tasks share which draw pictures. Pixels are numbers from -1, black, to 1, white.

    pixels: the side in which pictures are read and drawn, or height and width (None: as task=see has it).
    channels: 3 for red, green and blue, 1 for grey (None: 1 where no picture has colours).
    fit_by: how a picture of another size gets this one: "cover" takes its middle, "stretch" all of it.
    resample: how pixels are interpolated.
    background: what is behind transparent pixels, from 0, black, to 255, white.
    augment: changes at random of each picture in training, such as [flip]; what is drawn has them, too.
    latents: a run of task=autoencode, in whose latents it draws; the run keeps a copy of it (None: in pixels).
    """

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
    latents: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seeing()

    def seeing(self) -> SeeConfig:
        """Returns the task that reads the same pictures."""
        return SeeConfig(
            pixels=self.pixels, channels=self.channels, fit_by=self.fit_by, resample=self.resample,
            background=self.background, augment=self.augment,
        )  # fmt: skip

    def fitted(self, values: Sequence[Any]) -> Pictures | Latents:
        """Returns the reader of pictures, in latents where the recipe says so. Raises UserError."""
        if self.latents is None:
            return centred(self.seeing().unfitted().fit(values, IMAGE))
        own = Latents(path=self.latents).fit(values, IMAGE)
        require_alike(self.seeing().unfitted(), own.pictures, self.latents)
        return own

    def reader(self, readers: Readers) -> Pictures | Latents:
        return cast("Pictures | Latents", readers[IMAGE])

    def remarks(self, readers: Readers) -> list[str]:
        own = self.reader(readers)
        if not isinstance(own, Latents):
            return SeeingConfig.remarks(self.seeing(), readers)
        form = f"{own.channels} x {own.height} x {own.width}"
        of = f"{own.pictures.channels} x {own.pictures.height} x {own.pictures.width}"
        return [f"pictures of {of} numbers are read as {form} latents of {self.latents}, of which the run has a copy"]

    def patched(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for pictures of this size, in patches, with a head that gives their pixels.

        Raises UserError.
        """
        model = self.seeing().seen_by(model, readers)
        if not isinstance(model, DenoiserConfig | IllustratorConfig):
            return model
        form, patch = self.form(readers), None
        if isinstance(model.embedding, PatchesConfig):
            patch, stride = model.embedding.pixels((form[1], form[2]))
            if patch != stride:
                raise UserError(
                    f"model.embedding.stride={stride} has patches overlap, which makes no picture; leave it out"
                )
        head = model.head if isinstance(model.head, PixelsHeadConfig) else PixelsHeadConfig()
        if head.picture not in (None, form[1:]):
            have, here = (" x ".join(map(str, sides)) for sides in (head.picture, form[1:]))
            raise UserError(f"model.head.picture is {have}, but pictures are read in {here} pixels; leave it out")
        return replace(model, head=replace(head, picture=form[1:], patch=head.patch or patch))

    def check(self, model: Model, readers: Readers) -> None:
        super().check(model, readers)
        if isinstance(self.reader(readers), Latents) != (self.latents is not None):
            has = "pixels" if self.latents else "latents"
            what = f"task.latents={self.latents}, but the model that it starts from was trained in {has}"
            raise UserError(f"{what}; say the same here, or leave start out")
        if model.head is None or model.head.size < math.prod(self.form(readers)):
            raise UserError(f"task={self.kind} predicts all pixels of a picture; set model.head=pixels")

    def form(self, readers: Readers) -> tuple[int, ...]:
        own = self.reader(readers)
        return own.channels, own.height, own.width

    def manner(self, **changes: Any) -> DiffuseConfig:
        return replace(super().manner(**changes), limit=1.0 if self.latents is None else None)

    def shown(self, readers: Readers, numbers: Tensor) -> list[Picture]:
        own, x = self.reader(readers), numbers.numpy()
        return as_bytes(own.decode(x) if isinstance(own, Latents) else x)

    def measures(self) -> tuple[Measure, ...]:
        return ()

    def parted(self, value: str) -> tuple[str, int]:
        """Returns what is asked for, and the number of its picture, 0 where none is said. Raises UserError."""
        label, mark, number = value.rpartition("#")
        return (label, numbered(number)) if mark else (value, 0)

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[list[Any]]:  # fmt: skip
        """Returns the bytes of a picture of each label, or LABEL#7, its picture number 7 (0 where none is said)."""
        parts = [self.parted(str(one)) for one in inputs]
        rows: list[list[Any]] = [[] for _ in inputs]
        for label in dict.fromkeys(label for label, _ in parts):
            places = [i for i, part in enumerate(parts) if part[0] == label]
            numbers = [parts[i][1] for i in places]
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
            folder = path / ("none" if label is None else folder_name(str(label)))
            folder.mkdir(parents=True, exist_ok=True)
            files = [folder / f"{number:05d}.png" for number in range(len(row))]
            for file, picture in zip(files, row, strict=True):
                Image.fromarray(picture).save(file)
            places.append([str(file) for file in files])
        return places


def centred(own: Pictures) -> Pictures:
    """Returns a reader of pictures with numbers from -1 to 1."""
    middle = (MIDDLE,) * own.size
    return replace(own, mean=middle, deviation=middle)


def as_bytes(numbers: NDArray[np.float32]) -> list[Picture]:
    """(rows, C, H, W) numbers from -1 to 1 -> pictures."""
    x = np.rint((numbers * MIDDLE + MIDDLE) * 255).clip(0, 255).astype(np.uint8)
    return [one[0] if len(one) == 1 else np.ascontiguousarray(one.transpose(1, 2, 0)) for one in x]


def require_alike(asked_for: Pictures, there: Pictures, path: str) -> None:
    """Raises UserError where a recipe reads pictures in another way than the autoencoder whose latents it takes."""
    usual = Pictures()
    for name in ("height", "width", "channels", "fit_by", "resample", "background"):
        here, own = getattr(asked_for, name), getattr(there, name)
        if here not in (getattr(usual, name), own):
            what = f"task.latents={path} reads pictures with {name}={own}, but this recipe asks for {here}"
            raise UserError(f"{what}; leave it out, or train another autoencoder")


def folder_name(label: str) -> str:
    """Returns the name of the folder of a label; what no folder can be called has a short sum of it at its end."""
    name = label.replace("/", "_")
    if len(name.encode()) <= LONGEST and name.strip("."):
        return name
    cut = name.encode()[: LONGEST - 17].decode(errors="ignore").strip(".")
    return f"{cut}-{hashlib.blake2b(label.encode(), digest_size=8).hexdigest()}"


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
