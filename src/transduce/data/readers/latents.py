"""Pictures as the latents of an autoencoder, which another run has trained.

Tested in tests/tasks/test_autoencode.py.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from transduce.data.readers.pictures import FITTED, Pictures
from transduce.data.readers.reader import Reader
from transduce.disk import digest, remove
from transduce.errors import UserError

COPY = "autoencoder"  # the folder of a run that has the autoencoder in whose latents it draws
COPIED = ("config.yaml", "env.json", "hashes.json", "readers", "base.safetensors", "best")
GROUP = 64  # pictures that are encoded together
Floats = NDArray[np.float32]


class Codec(Protocol):
    """An autoencoder. pictures: how it reads them. form: (c, h, w) of the latents of a picture."""

    pictures: Pictures
    form: tuple[int, ...]

    def encode(self, numbers: Floats) -> Floats:
        """(rows, C, H, W) -> (rows, c, h, w): the means."""
        ...

    def decode(self, latents: Floats) -> Floats:
        """(rows, c, h, w) -> (rows, C, H, W), of each row as if it were alone."""
        ...


Opener = Callable[[Path], Codec]
openers = list[Opener]()  # of runs, by those who know what a run is


@lru_cache(maxsize=4)
def opened(path: str, mark: str) -> Codec:
    """Opens a run of an autoencoder, once. mark: changes with its weights."""
    return openers[0](Path(path))


def mark_of(path: str) -> str:
    """Returns what changes with the weights of a run. Raises UserError where it is none."""
    done = Path(path) / "best" / "DONE"
    if not done.is_file():
        what = f"task.latents={path} is no run with a checkpoint"
        raise UserError(f"{what}; train one: transduce train autoencode data.path=PICTURES")
    return digest(done)


@dataclass(frozen=True, kw_only=True)
class Latents(Reader):
    """A picture a row, read as factor * the means that an autoencoder gives of its latents.

    The factor brings their deviation over the training data to 1: Rombach et al. 2022, arXiv:2112.10752, app. G.

    path: the run of the autoencoder, or the copy of it inside another run.
    sha256: of the list of hashes of its checkpoint, so of its weights ("" until it is fitted).
    channels: numbers of a place (0 until it is fitted).
    height: rows of places.
    width: columns of places.
    factor: of the latents.
    """

    kind: ClassVar[str] = "latents"
    path: str = field(default="", compare=False)
    sha256: str = ""
    channels: int = 0
    height: int = 0
    width: int = 0
    factor: float = 1.0

    @property
    def size(self) -> int:
        return self.channels

    @property
    def codec(self) -> Codec:
        """Returns the autoencoder. Raises UserError where its weights are others than at first."""
        if (mark := mark_of(self.path)) != self.sha256:
            what = f"{self.path} is another autoencoder than the one whose latents were learnt (its sha256 differs)"
            raise UserError(f"{what}; restore it from a copy, or choose another name= to train anew")
        return opened(self.path, mark)

    @property
    def pictures(self) -> Pictures:
        return self.codec.pictures

    def fit(self, values: Sequence[Any], column: str) -> Self:
        mark = mark_of(self.path)
        form = opened(self.path, mark).form
        own = replace(self, sha256=mark, channels=form[0], height=form[1], width=form[2], factor=1.0)
        spread = min(len(values), FITTED)
        some = own.encode([values[i * len(values) // spread] for i in range(spread)], column)
        return replace(own, factor=1 / (float(some.std(dtype=np.float64)) or 1.0))

    def pixels(self, values: Sequence[Any], column: str) -> NDArray[np.uint8]:
        """Returns (rows, C, H, W) bytes. Raises UserError for a picture that cannot be read."""
        return self.pictures.pixels(values, column)

    def one(self, value: str) -> NDArray[np.uint8]:
        """Returns (C, H, W) bytes of one picture."""
        return self.pictures.one(value)

    def numbers(self, pixels: NDArray[np.uint8]) -> Floats:
        """Returns (rows, c, h, w) float32 of as many bytes."""
        codec = self.codec
        return codec.encode(codec.pictures.numbers(pixels)) * np.float32(self.factor)

    def ready(self, pixels: NDArray[np.uint8]) -> Floats:
        """Returns the same of many, computed in groups."""
        groups = [self.numbers(pixels[i : i + GROUP]) for i in range(0, len(pixels), GROUP)]
        return np.concatenate([np.zeros((0, self.channels, self.height, self.width), dtype=np.float32), *groups])

    def encode(self, values: Sequence[Any], column: str) -> Floats:
        """Returns (rows, c, h, w) float32."""
        return self.ready(self.pixels(values, column))

    def decode(self, latents: Floats) -> Floats:
        """(rows, c, h, w) as they are read -> (rows, C, H, W), the numbers of pixels."""
        return self.codec.decode(latents / np.float32(self.factor))

    def stored(self, run: Path) -> Self:
        """Copies the autoencoder into a run, with its hashes."""
        source, copy, beside = Path(self.path), run / COPY, run / f".{COPY}"
        _ = self.codec  # which refuses a run whose weights have changed
        if not copy.exists():
            remove(beside)
            beside.mkdir()
            for name in COPIED:
                if (source / name).is_dir():
                    shutil.copytree(source / name, beside / name)
                elif (source / name).exists():
                    shutil.copyfile(source / name, beside / name)
            beside.rename(copy)
        return replace(self, path=COPY)

    def found_in(self, run: Path) -> Self:
        return replace(self, path=str(run / COPY))
