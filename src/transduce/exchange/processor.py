"""preprocessor_config.json as a reader of pictures, and a reader as such a file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from transduce.data.pictures import Resample
from transduce.data.readers.pictures import Pictures
from transduce.errors import UserError
from transduce.exchange.files import read_json

NAME = "preprocessor_config.json"
RESAMPLE: dict[int, Resample] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # as Pillow counts them
# What says nothing of the numbers, or is so here in any case.
QUIET = {
    "image_processor_type", "feature_extractor_type", "processor_class", "do_convert_rgb", "data_format",
    "input_data_format", "return_tensors", "device", "disable_grouping", "default_to_square", "image_seq_length",
}  # fmt: skip


def read(folder: Path, channels: int) -> Pictures:
    """Returns the reader that a folder asks for. Raises UserError for what is not done here."""
    path = folder / NAME
    if not path.is_file():
        raise UserError(f"{folder} has no {NAME}, so nobody knows how its pictures are read; put it there")
    left = {key: value for key, value in read_json(path).items() if key not in QUIET and value is not None}
    stated = dict(left)

    def take(key: str, default: Any) -> Any:
        left.pop(key, None)
        return stated.get(key, default)

    def only(key: str, value: Any) -> None:
        if (own := take(key, value)) != value:
            raise UserError(f"{path} has {key}={own!r}, but only {value!r} is done here")

    only("do_resize", True)
    only("do_rescale", True)
    factor, size = take("rescale_factor", 1 / 255), take("size", {"height": 224, "width": 224})
    if not isinstance(factor, float) or abs(factor - 1 / 255) > 1e-9:
        raise UserError(f"{path} has rescale_factor={factor!r}, but only 1/255 is done here")
    crop, cut = take("crop_size", None), take("do_center_crop", False)
    height, width, cover = square(size, crop if cut else None, path)
    resample = take("resample", 2)
    if resample not in RESAMPLE:
        raise UserError(f"{path} has resample={resample!r}; known are {', '.join(map(str, RESAMPLE))}")
    scaled = take("do_normalize", True)
    mean, deviation = (numbers(take(key, [0.5] * channels), channels, key, path) for key in ("image_mean", "image_std"))
    if left:
        raise UserError(f"{path} has {', '.join(sorted(left)[:3])}, which is not known here")
    return Pictures(
        height=height, width=width, channels=channels, fit_by="cover" if cover else "stretch",
        resample=RESAMPLE[resample], mean=mean if scaled else (0.0,) * channels,
        deviation=deviation if scaled else (1.0,) * channels,
    )  # fmt: skip


def square(size: Any, crop: Any, path: Path) -> tuple[int, int, bool]:
    """Returns height and width, and whether the middle is taken. Raises UserError for other ways."""
    sizes, crops = as_sides(size), as_sides(crop)
    short = cast("Mapping[str, Any]", size).get("shortest_edge") if isinstance(size, Mapping) else None
    if sizes is not None and crop is None:
        return *sizes, False
    if isinstance(short, int) and crops == (short, short):
        return short, short, True
    raise UserError(
        f"{path} has size={size!r} and crop_size={crop!r}; only height and width, or a crop of it, are read"
    )


def as_sides(size: Any) -> tuple[int, int] | None:
    """Returns height and width, where both are said."""
    if isinstance(size, int):
        return size, size
    if not isinstance(size, Mapping):
        return None
    sides = [cast("Mapping[str, Any]", size).get(key) for key in ("height", "width")]
    return (sides[0], sides[1]) if isinstance(sides[0], int) and isinstance(sides[1], int) else None


def numbers(values: Any, channels: int, key: str, path: Path) -> tuple[float, ...]:
    """Returns one number for each channel. Raises UserError."""
    some = cast("list[Any]", values) if isinstance(values, list) else []
    if len(some) != channels or not all(isinstance(x, int | float) and abs(x) < 1e6 for x in some):
        raise UserError(f"{path} has {key}={values!r}; it must be {channels} numbers, one for each channel")
    return tuple(map(float, some))


def write(reader: Pictures, folder: Path) -> None:
    """Writes the file by which transformers reads pictures as a reader does. Raises UserError where it cannot."""
    size: dict[str, int] = {"height": reader.height, "width": reader.width}
    crop: dict[str, Any] = {}
    if reader.fit_by == "cover":
        if reader.height != reader.width:
            what = f"task.fit_by=cover of {reader.height} x {reader.width} pixels"
            raise UserError(f"{what} is no square, for which {NAME} has no words; train with task.fit_by=stretch")
        size, crop = {"shortest_edge": reader.height}, {"do_center_crop": True, "crop_size": size}
    data: dict[str, Any] = {
        "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": size, **crop, "do_rescale": True,
        "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": list(reader.mean),
        "image_std": list(reader.deviation), "resample": next(n for n, x in RESAMPLE.items() if x == reader.resample),
    }  # fmt: skip
    (folder / NAME).write_text(json.dumps(data, indent=2) + "\n", "utf-8")
