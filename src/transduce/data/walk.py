"""The rows of a data set one after the other, so that a corpus larger than memory passes through it."""

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transduce.data import encoding, read
from transduce.errors import UserError

BLOCK = 1 << 20  # characters of a file that are in memory at once


class Piece(NamedTuple):
    """A row of a split, or a part of a row.

    values: one of each column.
    more: the row goes on in the next piece.
    source: of a mixture, the name of the source that it is from.
    """

    split: str
    values: tuple[Any, ...]
    more: bool = False
    source: str = ""


def blocks(path: Path) -> Iterator[str]:
    """Yields the text of a file, as `read.text` returns it, `BLOCK` characters at a time, with LF at line ends.

    Raises UserError as `read.text` does, but takes files that do not fit memory.
    """
    path, empty, rest = read.packed(path), True, ""
    with read.opened(path) as stream:
        for part in encoding.parts(stream, str(path)):
            rest += part.replace("\r\n", "\n")
            empty = empty and not rest
            while len(rest) > BLOCK:
                yield rest[:BLOCK]
                rest = rest[BLOCK:]
    if empty:
        raise UserError(f"{path} is empty; give a file with text in it, or leave it out")
    if rest:
        yield rest


def between(parts: Iterable[str], start: int, stop: int) -> Iterator[str]:
    """Yields the characters `start` to `stop` of a text, `BLOCK` at a time. parts: of the text, of any length."""
    before, rest = 0, ""  # before: characters of earlier parts
    for part in parts:
        rest += part[max(0, start - before) : max(0, stop - before)]
        before += len(part)
        while len(rest) > BLOCK:
            yield rest[:BLOCK]
            rest = rest[BLOCK:]
        if before >= stop:
            break
    if rest:
        yield rest


def row(split: str, parts: Iterable[str]) -> Iterator[Piece]:
    """Yields one row of a split as a piece for each of its parts."""
    last: str | None = None
    for part in parts:
        if last is not None:
            yield Piece(split, (last,), True)
        last = part
    yield Piece(split, (last or "",))


def digests(texts: Iterable[str]) -> Iterator[int]:
    """Yields a hash of each text, by which `holder` and `source.hold_out` choose the same texts."""
    for text in texts:
        yield int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def holder(texts: Iterable[str], fraction: float) -> Callable[[str], bool]:
    """Returns a function that says whether a text is held out for validation, as `source.hold_out` chooses.

    Raises UserError where train is too small to part.
    """
    different = np.unique(np.fromiter(digests(texts), dtype=np.uint64))
    if len(different) < 2:
        raise UserError("train has no two different texts to hold one out for validation; give a valid file")
    last = int(different[max(1, round(fraction * len(different))) - 1])
    return lambda text: next(digests([text])) <= last


@dataclass(frozen=True)
class Streams:
    """Files, each of which is one row. fraction: the share at the end of each training file that is for validation."""

    splits: Mapping[str, Sequence[Path]]
    fraction: float

    def __call__(self) -> Iterator[Piece]:
        for split, paths in self.splits.items():
            parted = self.fraction > 0 and split == "train"
            for path, cut in zip(paths, self._cuts if parted else repeat(sys.maxsize), strict=False):
                yield from row(split, between(blocks(path), 0, cut))
            for path, cut in zip(paths, self._cuts, strict=True) if parted else ():
                yield from row("valid", between(blocks(path), cut, sys.maxsize))

    @cached_property
    def _cuts(self) -> list[int]:
        sizes = (sum(map(len, blocks(path))) for path in self.splits["train"])
        return [round(size * (1 - self.fraction)) for size in sizes]


@dataclass(frozen=True)
class Documents:
    """Files of many rows each.

    fraction: the share of train that is for validation, chosen by a hash.
    texts: yields the rows of a file.
    """

    splits: Mapping[str, Sequence[Path]]
    fraction: float
    texts: Callable[[Path], Iterator[str]]

    def __call__(self) -> Iterator[Piece]:
        for split in self.splits:
            if self.fraction > 0 and split == "train":
                yield from (Piece(split, (text,)) for text in self._every(split) if not self._held(text))
                yield from (Piece("valid", (text,)) for text in self._every(split) if self._held(text))
            else:
                yield from (Piece(split, (text,)) for text in self._every(split))

    def _every(self, split: str) -> Iterator[str]:
        return (text for path in self.splits[split] for text in self.texts(path))

    @cached_property
    def _held(self) -> Callable[[str], bool]:
        return holder(self._every("train"), self.fraction)
