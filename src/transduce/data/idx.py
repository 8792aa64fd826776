"""idx files, such as those of MNIST: bytes in one array, whose sizes stand before it.

http://yann.lecun.com/exdb/mnist: two zeros, the type (8: bytes), the number of dimensions, each of them in four bytes.
"""

import functools
import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transduce.errors import UserError

BYTES, MOST = 8, 1 << 33  # the type, and bytes of a file that is read
NUMBERED = re.compile(r"(.*idx3-ubyte(?:\.gz)?)#(\d{1,12})")  # one picture of a file


def read(path: Path) -> NDArray[np.uint8]:
    """Returns the array of a file (gz too). Raises UserError where it is none, or is cut off."""
    stat = path.stat() if path.is_file() else None
    if stat is None:
        raise UserError(f"{path}: no such file")
    return _read(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read(path: Path, size: int, stamp: int) -> NDArray[np.uint8]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            head = stream.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= 4:
                raise UserError(f"{path} is no idx file: it does not begin as one; download it again")
            if head[2] != BYTES:
                raise UserError(f"{path} holds numbers of type {head[2]}; only bytes (type {BYTES}) are read")
            shape = struct.unpack(f">{head[3]}I", stream.read(4 * head[3]))
            if (count := math.prod(shape)) > MOST:
                raise UserError(f"{path} says that it holds {count:,} bytes, more than are read; download it again")
            data = stream.read(count + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error, struct.error):
        raise UserError(f"{path} is cut off or damaged; download it again") from None
    if len(data) != count:
        what = "fewer" if len(data) < count else "more"
        raise UserError(f"{path} holds {what} bytes than its {' x '.join(map(str, shape))}; download it again")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def numbered(value: str) -> tuple[Path, int] | None:
    """Returns the file and the number of a picture that is written FILE#17; None: it is written otherwise."""
    match = NUMBERED.fullmatch(value)
    return None if match is None else (Path(match[1]), int(match[2]))


def picture(path: Path, number: int) -> NDArray[np.uint8]:
    """Returns (H, W), the picture of that number, from 0. Raises UserError."""
    array = read(path)
    if array.ndim != 3 or number >= len(array):
        raise UserError(f"{path} has no picture {number}; it has {len(array) if array.ndim == 3 else 0}, from 0 on")
    return array[number]
