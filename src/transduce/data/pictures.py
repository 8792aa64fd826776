"""Pictures out of files: decoded as people see them, refused by their header where they are too large."""

import importlib
import struct
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transduce.data import idx
from transduce.data.read import at_home
from transduce.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
MOST = 1 << 26  # pixels: what is larger is refused before it is decoded
WIDE = ("I", "I;16", "I;16B", "I;16L")  # modes with more than 8 bits a pixel
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class Head(NamedTuple):
    """A picture without its pixels. frames: more than 1 where it moves. colour: it has more than grey."""

    height: int
    width: int
    frames: int
    colour: bool


def require_pillow() -> None:
    """Raises UserError where Pillow is not installed."""
    try:
        importlib.import_module("PIL")
    except ImportError:
        raise UserError("pictures are decoded by Pillow, which is not here; pip install 'transduce[vision]'") from None


@contextmanager
def opened(value: str) -> Generator[Any]:
    """Gives a picture whose header has been read, and nothing else.

    Raises UserError, also for whatever goes wrong in it: where the file is missing, no picture, broken or too large.
    """
    require_pillow()
    from PIL import Image, UnidentifiedImageError

    path = at_home(value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about the size, which is looked at here
            with Image.open(path) as picture:
                width, height = picture.size
                if width * height > MOST:
                    what = f"{value} says that it has {width:,} x {height:,} pixels, more than {MOST:,}"
                    raise UserError(f"{what}; make it smaller, or remove it")
                yield picture
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{value}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{value} is a folder, but a picture is asked for; write {value}/*") from None
    except PermissionError:
        raise UserError(f"{value} may not be read; change its permissions") from None
    except Image.DecompressionBombError:
        raise UserError(f"{value} has more than {MOST:,} pixels; make it smaller, or remove it") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise UserError(f"{value} is {'empty' if empty else 'no picture that can be read'}; remove it") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, KeyError, IndexError, TypeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{value} is broken ({reason}); replace it, or remove it") from None


def head(value: str) -> Head:
    """Returns size and kind of a picture, turned as it is seen. Raises UserError."""
    if (place := idx.numbered(value)) is not None:
        height, width = idx.picture(*place).shape
        return Head(height, width, 1, False)
    with opened(value) as picture:
        width, height = picture.size
        if picture.getexif().get(0x0112, 1) in (5, 6, 7, 8):  # a quarter of a turn
            width, height = height, width
        grey = picture.mode in ("1", "L", "LA", "La", *WIDE)
        if picture.mode == "P":
            grey = grey_palette(picture)
        return Head(height, width, int(getattr(picture, "n_frames", 1)), not grey)


def grey_palette(picture: Any) -> bool:
    """Says whether all colours of a palette are grey."""
    colours = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def decoded(value: str, channels: int, background: int) -> "Image.Image":
    """Returns a picture as people see it, of 8 bits: mode L for 1 channel, RGB for 3. Raises UserError.

    It is turned as EXIF says; what is transparent shows the background, a grey of 0 to 255; 16 bits become 8; of what
    moves it is the first frame.
    """
    require_pillow()
    from PIL import Image, ImageOps

    mode = "L" if channels == 1 else "RGB"
    if (place := idx.numbered(value)) is not None:
        return Image.fromarray(idx.picture(*place)).convert(mode)
    with opened(value) as picture:
        picture.load()
        turned: Image.Image = ImageOps.exif_transpose(picture)
        if turned.mode in WIDE:
            wide = np.asarray(turned).astype(np.float64)
            turned = Image.fromarray(np.clip(np.rint(wide / 257), 0, 255).astype(np.uint8))
        elif turned.mode == "F":
            raise UserError(f"{value} holds fractions, which have no black and no white; save it with 8 or 16 bits")
        if turned.has_transparency_data:
            seen = turned.convert("RGBA")
            under = Image.new("RGBA", seen.size, (background,) * 3 + (255,))
            turned = Image.alpha_composite(under, seen)
        return turned if turned.mode == mode else turned.convert("RGB").convert(mode)


def resized(picture: "Image.Image", height: int, width: int, resample: Resample, cover: bool) -> "Image.Image":
    """Returns a picture of a size. cover: its middle, in its own proportions; else all of it, squeezed or stretched."""
    from PIL import Image

    by = {
        "nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS,
    }[resample]  # fmt: skip
    own_width, own_height = picture.size
    if (own_width, own_height) == (width, height):
        return picture
    if not cover:
        return picture.resize((width, height), by)
    factor = max(width / own_width, height / own_height)
    if width * own_height >= height * own_width:  # as torchvision rounds it
        wide, high = width, max(int(width * own_height / own_width), height)
    else:
        wide, high = max(int(height * own_width / own_height), width), height
    if wide * high > MOST:  # of a strip only the part that stays is made larger
        w, h = width / factor, height / factor
        x, y = (own_width - w) / 2, (own_height - h) / 2
        return picture.resize((width, height), by, box=(x, y, x + w, y + h))
    left, top = (wide - width) // 2, (high - height) // 2
    return picture.resize((wide, high), by).crop((left, top, left + width, top + height))


def pixels(picture: "Image.Image") -> NDArray[np.uint8]:
    """Returns (C, H, W) bytes."""
    array = np.asarray(picture, dtype=np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def name_of(path: Path) -> bool:
    """Says whether a file is called like a picture."""
    return path.suffix.lower() in SUFFIXES
