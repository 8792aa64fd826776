"""Sounds out of files: plain wav as it is, other formats by soundfile, one channel, any rate."""

import importlib
import struct
from collections.abc import Generator
from contextlib import contextmanager
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transduce.data.read import at_home
from transduce.errors import UserError

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64")
MOST = 1 << 28  # samples of all channels: what is longer is refused before it is decoded
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
STREAMED = 0xFFFF_FFFF  # bytes that a header promises where its writer did not know how many would come
Samples = NDArray[np.float32]  # (N,) of one channel, from -1 to 1


class Head(NamedTuple):
    """A sound without its samples. rate: samples a second, of each channel. samples: of each channel."""

    rate: int
    samples: int
    channels: int

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


class Plain(NamedTuple):
    """A wav file whose samples are numbers.

    start: the byte of the first one.
    dtype: of one, as numpy calls it, or "24" for three bytes.
    """

    head: Head
    start: int
    dtype: str


DTYPES = {(PCM, 8): "u1", (PCM, 16): "<i2", (PCM, 24): "24", (PCM, 32): "<i4", (FLOAT, 32): "<f4", (FLOAT, 64): "<f8"}


@contextmanager
def opened(value: str) -> Generator[BinaryIO]:
    """Gives a file, open for reading. Raises UserError, also for what goes wrong in it."""
    try:
        with at_home(value).open("rb") as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{value}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{value} is a folder, but a sound is asked for; write {value}/*") from None
    except PermissionError:
        raise UserError(f"{value} may not be read; change its permissions") from None
    except OSError as error:
        raise UserError(f"{value} cannot be read ({error.strerror or error}); replace it, or remove it") from None


def plain(file: BinaryIO, value: str) -> Plain | None:
    """Returns the header of a wav file; None: it is another format. Raises UserError where it is cut off.

    file: open at its beginning.
    """
    size = file.seek(0, 2)
    file.seek(0)
    if (first := file.read(12))[:4] != b"RIFF" or first[8:] != b"WAVE":
        return None
    dtype, rate, channels, width = "", 0, 0, 0
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        here = file.tell()
        if name == b"fmt ":
            body = file.read(min(length, 40))
            if len(body) < 16:
                break
            tag, channels, rate, _, width, bits = struct.unpack("<HHIIHH", body[:16])
            if tag == EXTENSIBLE and len(body) >= 26:
                tag = struct.unpack("<H", body[24:26])[0]
            dtype = DTYPES.get((tag, bits), "")
            if not dtype or not rate or width * 8 != channels * bits or not channels:
                return None
        if name == b"data" and dtype:
            rest = size - here
            if length > rest and length != STREAMED:
                what = (
                    f"{value} is cut off: its header says {length // width:,} samples, but {rest // width:,} are there"
                )
                raise UserError(f"{what}; replace it, or remove it")
            return Plain(Head(rate, min(length, rest) // width, channels), here, dtype)
        file.seek(here + length + length % 2)
    raise UserError(f"{value} is broken: it begins as a wav file, but has no samples; replace it, or remove it")


def numbers(data: bytes, dtype: str) -> NDArray[np.float32]:
    """Returns samples from -1 to 1 of the bytes of a wav file. dtype: see `Plain`."""
    if dtype == "24":
        wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    x = np.frombuffer(data, dtype=dtype)
    if dtype == "u1":
        return (x.astype(np.float32) - np.float32(128)) / np.float32(128)
    return x.astype(np.float32) if x.dtype.kind == "f" else (x / 2.0 ** (8 * x.itemsize - 1)).astype(np.float32)


def soundfile(value: str) -> Any:
    """Returns the module that decodes what is not plain wav. Raises UserError where it is not installed."""
    try:
        return importlib.import_module("soundfile")
    except (ImportError, OSError):
        what = f"{value} is not plain wav, and other sounds are decoded by soundfile, which is not here"
        raise UserError(f"{what}; pip install 'transduce[audio]'") from None


def by_soundfile(file: BinaryIO, value: str, *, samples: bool) -> tuple[Head, NDArray[np.float32]]:
    """Returns the header of a sound, and (N, channels) of it where `samples` are wanted. Raises UserError."""
    if not file.read(1):
        raise UserError(f"{value} is empty; remove it")
    file.seek(0)
    module = soundfile(value)
    try:
        with module.SoundFile(file) as sound:
            head = Head(int(sound.samplerate), int(sound.frames), int(sound.channels))
            require_bounded(head, value)
            return head, sound.read(dtype="float32", always_2d=True) if samples else np.zeros((0, 1), np.float32)
    except module.LibsndfileError:
        raise UserError(f"{value} is no sound that can be read; remove it") from None


def require_bounded(head: Head, value: str) -> None:
    """Raises UserError where a sound has no samples, or too many."""
    if not head.samples:
        raise UserError(f"{value} has 0 samples, so there is nothing to hear; remove it")
    if head.samples * head.channels > MOST:
        what = f"{value} says that it has {head.samples * head.channels:,} samples, more than {MOST:,}"
        raise UserError(f"{what}; cut it into parts, or remove it")


def head(value: str) -> Head:
    """Returns rate, length and channels of a sound. Raises UserError where it is missing, no sound, broken or empty."""
    with opened(value) as file:
        own = plain(file, value)
        file.seek(0)
        about = by_soundfile(file, value, samples=False)[0] if own is None else own.head
    require_bounded(about, value)
    return about


def decoded(value: str) -> tuple[int, Samples]:
    """Returns the rate of a sound and its samples: of several channels their mean. Raises UserError."""
    with opened(value) as file:
        own = plain(file, value)
        if own is None:
            file.seek(0)
            about, x = by_soundfile(file, value, samples=True)
        else:
            about = own.head
            require_bounded(about, value)
            file.seek(own.start)
            size = about.samples * about.channels * (3 if own.dtype == "24" else np.dtype(own.dtype).itemsize)
            x = numbers(file.read(size), own.dtype).reshape(-1, about.channels)
    require_bounded(about._replace(samples=len(x)), value)
    mono: Samples = x[:, 0] if about.channels == 1 else x.mean(1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise UserError(f"{value} holds samples that are not finite; replace it, or remove it")
    return about.rate, mono


def resampled(x: Samples, rate: int, wanted: int) -> Samples:
    """Returns ceil(N wanted / rate) samples: the sound at another rate, without what that cannot hold.

    By a filter of finite length, in parts (scipy.signal.resample_poly).
    """
    if rate == wanted:
        return x
    try:
        signal: Any = importlib.import_module("scipy.signal")
    except ImportError:
        what = f"sounds of {rate:,} samples a second are brought to {wanted:,} by scipy, which is not here"
        raise UserError(f"{what}; pip install 'transduce[audio]'") from None
    shared = gcd(rate, wanted)
    return signal.resample_poly(x.astype(np.float64), wanted // shared, rate // shared).astype(np.float32)


def name_of(path: Path) -> bool:
    """Says whether a file is called like a sound."""
    return path.suffix.lower() in SUFFIXES
