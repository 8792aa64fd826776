"""Ids and values that lie in files: those that are asked for are read, never all at once."""

import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from transduce.data.examples import Index
from transduce.errors import UserError

NUMBERS = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "I32": np.int32, "I64": np.int64}
READ = 1 << 22  # numbers that are read at once where all are needed


class Tape:
    """Arrays of numbers one behind the other, as one array of int32 that is never whole in memory."""

    dtype = np.dtype(np.int32)

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        self.parts = [part for part in parts if len(part)]
        self.ends: Index = np.cumsum([len(part) for part in self.parts], dtype=np.int64)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitem__(self, at: Any) -> NDArray[np.int32]:
        """Reads numbers. at: a slice, or integers of any shape, none of them negative."""
        if isinstance(at, slice):
            return self._between(*at.indices(len(self))[:2])
        at = cast("NDArray[np.int64]", np.asarray(at))
        if len(self.parts) == 1:
            return self.parts[0][at].astype(np.int32)
        out = np.empty(at.shape, dtype=np.int32)
        part = cast("NDArray[np.int64]", np.searchsorted(self.ends, at, side="right"))
        for number in cast("list[int]", np.unique(part).tolist()):
            chosen = part == number
            before = int(self.ends[number - 1]) if number else 0
            out[chosen] = self.parts[number][at[chosen] - before]
        return out

    def _between(self, start: int, stop: int) -> NDArray[np.int32]:
        slices, before = list[NDArray[Any]](), 0
        for part in self.parts:
            if before < stop and before + len(part) > start:
                slices.append(part[max(start - before, 0) : stop - before])
            before += len(part)
        return np.concatenate([np.zeros(0, dtype=np.int32), *slices]).astype(np.int32, copy=False)


def blocks(flat: Any) -> Iterator[NDArray[Any]]:
    """Yields an array or a tape in parts of `READ` numbers."""
    for start in range(0, len(flat), READ):
        yield flat[start : start + READ]


class Lines(Sequence[Any]):
    """Texts, or values as JSON, in UTF-8 one behind the other.

    flat: their bytes.
    offsets: (rows + 1,), where each begins.
    plain: they are texts, not JSON.
    """

    def __init__(self, flat: Tape, offsets: Index, *, plain: bool) -> None:
        self.flat, self.offsets, self.plain = flat, offsets, plain

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        text = self.flat[int(self.offsets[row]) : int(self.offsets[row + 1])].astype(np.uint8).tobytes().decode()
        return text if self.plain else json.loads(text)


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a safetensors file, mapped into memory. Raises UserError where the file is not whole."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = cast("dict[str, Any]", json.loads(file.read(length)))
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        content.madvise(mmap.MADV_RANDOM)
        out = dict[str, NDArray[Any]]()
        for name, tensor in header.items():
            if name != "__metadata__":
                count = int(np.prod(tensor["shape"], dtype=np.int64))
                out[name] = np.frombuffer(
                    content, NUMBERS[tensor["dtype"]], count, 8 + length + tensor["data_offsets"][0]
                )
        return out
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{path} is not a whole shard ({error}); remove its folder, and prepare the data again"
        ) from None
