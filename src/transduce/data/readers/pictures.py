"""Pictures: decoded, brought to one size, and to mean 0 and deviation 1."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from transduce.data import pictures
from transduce.data.readers.files import each, named
from transduce.data.readers.reader import Reader
from transduce.errors import UserError, require_at_least, require_at_most

SIDE = 224  # pixels, at most, of the side that follows from pictures of several sizes
FITTED = 2048  # pictures of which mean and deviation are taken, evenly spread over the training data
LARGEST = 4096  # pixels of a side


@dataclass(frozen=True, kw_only=True)
class Pictures(Reader):
    """A picture a row: the name of a file, or FILE#17 for one of an idx file. Read as (x - mean) / deviation.

    x is a byte over 255. These are the values of a `preprocessor_config.json`.

    height: pixels (0 until it is fitted: that of all pictures, or where they differ the median, at most 224, a square).
    width: the same.
    channels: 3 for red, green and blue, 1 for grey (0 until it is fitted: 1 where no picture has colours).
    fit_by: how a picture of another size gets this one: "cover" keeps proportions and takes the middle, "stretch" takes
        all of it.
    resample: how pixels are interpolated.
    background: what is behind transparent pixels, from 0, black, to 255, white.
    mean: of each channel, over the training data (empty until it is fitted).
    deviation: the standard deviation of each; 1 where all are equal.
    """

    kind: ClassVar[str] = "pictures"
    height: int = 0
    width: int = 0
    channels: int = 0
    fit_by: Literal["cover", "stretch"] = "cover"
    resample: pictures.Resample = "bilinear"
    background: int = 255
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_at_least(0, height=self.height, width=self.width)
        require_at_most(LARGEST, height=self.height, width=self.width)
        if self.channels not in (0, 1, 3):
            raise UserError(f"channels={self.channels} is neither 1, for grey, nor 3, for red, green and blue")
        if not 0 <= self.background <= 255:
            raise UserError(f"background={self.background} must be from 0, black, to 255, white")
        for name, values in (("mean", self.mean), ("deviation", self.deviation)):
            if values and self.channels and len(values) != self.channels:
                raise UserError(f"{name} has {len(values)} numbers, but the pictures have {self.channels} channels")
        if any(not value > 0 for value in self.deviation):
            raise UserError(f"deviation={list(self.deviation)} must be more than 0")

    @property
    def size(self) -> int:
        return self.channels

    def fit(self, values: Sequence[Any], column: str) -> Self:
        heads = each(pictures.head, named(values, column))
        out = self
        if not self.height or not self.width:
            sizes = {(head.height, head.width) for head in heads}
            side = min(SIDE, round(median(min(head.height, head.width) for head in heads)))
            height, width = sizes.pop() if len(sizes) == 1 else (side, side)
            if max(height, width) > LARGEST:
                what = f"the pictures have {height} x {width} pixels"
                raise UserError(f"{what}; say in how many they are read, such as task.pixels=224")
            out = replace(out, height=self.height or height, width=self.width or width)
        out = replace(out, channels=self.channels or (3 if any(head.colour for head in heads) else 1))
        if out.mean and out.deviation:
            return out
        spread = min(len(values), FITTED)
        some = out.pixels([values[i * len(values) // spread] for i in range(spread)], column)
        means, deviations = moments(some)
        return replace(out, mean=out.mean or means, deviation=out.deviation or deviations)

    def pixels(self, values: Sequence[Any], column: str) -> NDArray[np.uint8]:
        """Returns (rows, C, H, W) bytes. Raises UserError for a picture that cannot be read."""
        out = np.empty((len(values), self.channels, self.height, self.width), dtype=np.uint8)
        for row, picture in enumerate(each(self.one, named(values, column))):
            out[row] = picture
        return out

    def one(self, value: str) -> NDArray[np.uint8]:
        """Returns (C, H, W) bytes of one picture."""
        picture = pictures.decoded(value, self.channels, self.background)
        cover = self.fit_by == "cover"
        return pictures.pixels(pictures.resized(picture, self.height, self.width, self.resample, cover))

    def numbers(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns (rows, C, H, W) float32 of as many bytes."""
        mean, deviation = (np.array(x, dtype=np.float32)[:, None, None] for x in (self.mean, self.deviation))
        out = pixels.astype(np.float32)
        out *= np.float32(1 / 255)
        out -= mean
        out /= deviation
        return out

    def encode(self, values: Sequence[Any], column: str) -> NDArray[np.float32]:
        """Returns (rows, C, H, W) float32."""
        return self.numbers(self.pixels(values, column))


def moments(pixels: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and standard deviation of each channel, of bytes over 255, exact: bytes are counted."""
    levels = np.arange(256) / 255
    means, deviations = list[float](), list[float]()
    for channel in range(pixels.shape[1]):
        counts = np.bincount(pixels[:, channel].reshape(-1), minlength=256)
        mean = float(counts @ levels / counts.sum())
        spread = float(counts @ np.square(levels - mean) / counts.sum()) ** 0.5
        means.append(round(mean, 6))
        deviations.append(round(spread, 6) or 1.0)
    return tuple(means), tuple(deviations)
