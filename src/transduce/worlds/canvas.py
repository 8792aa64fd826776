"""Pictures of worlds: lines and discs on white, and a film of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transduce.errors import UserError

SIDE, TWICE = 240, 2  # pixels of a picture, and how much finer it is drawn, so that slanted lines are smooth
Point = tuple[float, float]


def pillow(name: str) -> Any:
    """Returns a module of Pillow. Raises UserError where it is not installed."""
    try:
        return __import__(f"PIL.{name}", fromlist=[name])
    except ImportError:
        raise UserError("pictures need Pillow; run `pip install 'transduce[vision]'`") from None


class Canvas:
    """A square of [-1, 1] x [-1, 1], y upwards."""

    def __init__(self) -> None:
        self.image = pillow("Image").new("RGB", (TWICE * SIDE, TWICE * SIDE), "white")
        self.draw = pillow("ImageDraw").Draw(self.image)

    def at(self, point: Point) -> tuple[float, float]:
        """Returns pixels."""
        return (point[0] + 1) / 2 * TWICE * SIDE, (1 - point[1]) / 2 * TWICE * SIDE

    def line(self, one: Point, other: Point, colour: str = "black", width: int = 1) -> None:
        self.draw.line([self.at(one), self.at(other)], fill=colour, width=TWICE * width)

    def disc(self, centre: Point, radius: float, colour: str = "black") -> None:
        (x, y), r = self.at(centre), radius / 2 * TWICE * SIDE
        self.draw.ellipse([x - r, y - r, x + r, y + r], fill=colour)

    def box(self, low: Point, high: Point, colour: str = "black") -> None:
        (left, bottom), (right, top) = self.at(low), self.at(high)
        self.draw.rectangle([left, top, right, bottom], fill=colour)

    def pixels(self) -> NDArray[np.uint8]:
        """Returns (SIDE, SIDE, 3)."""
        return np.asarray(self.image.resize((SIDE, SIDE)), dtype=np.uint8)


def film(pictures: Sequence[NDArray[np.uint8]], path: Path, milliseconds: int = 60) -> None:
    """Writes pictures as an animation. Raises UserError for a name that does not end in .gif."""
    if path.suffix != ".gif":
        raise UserError(f"{path} must end in .gif, since an animation is written")
    frames = [pillow("Image").fromarray(one).quantize(32) for one in pictures]
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)
