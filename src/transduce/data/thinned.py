"""Large files thinned out: evenly spread parts of them, so that looking at them takes seconds whatever their size."""

import dataclasses
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from transduce.data import read
from transduce.data.mixture import Mixture
from transduce.data.parallel import Parallel
from transduce.data.source import DataConfig
from transduce.data.text import Text

LARGE = 1 << 24  # bytes of the files of a data set, from which on a sample stands for them
SAMPLE = 1 << 22  # bytes of a sample, about
PART = 1 << 16  # bytes that stay together
LINES = 256  # that stay together, where line n of one file belongs to line n of another
LINED = (".txt", ".tsv", ".csv", ".jsonl", ".ndjson")  # a part of such a file is such a file
PACKING = 4  # how much longer a text is than its gzip, about


class Thinned(NamedTuple):
    """Data of which each large file is thinned out. sample, whole: bytes of their text."""

    data: DataConfig
    sample: int
    whole: int

    @property
    def remark(self) -> str:
        return f"looked at a sample: {self.sample / 1e6:,.1f} of {self.whole / 1e6:,.1f} MB of text, evenly spread"


def thinned(data: DataConfig, folder: Path) -> Thinned | None:
    """Returns the same data, read from files in a folder that are parts of theirs; None: they are not large.

    The files lie there as they do now, below the root of the disk, so that whatever names them finds them.
    """
    if isinstance(data, Mixture):
        parts = {name: thinned(one, folder / name) for name, one in data.of.items()}
        if not any(parts.values()):
            return None
        of = {name: data.of[name] if part is None else part.data for name, part in parts.items()}
        some = [part for part in parts.values() if part is not None]
        return Thinned(dataclasses.replace(data, of=of), sum(p.sample for p in some), sum(p.whole for p in some))
    path, files = getattr(data, "path", None), data.files_read()
    if path is None or files is None or not (suited := [file for file in files if suits(data, file)]):
        return None
    if (every := sum(map(length, files))) < LARGE:
        return None
    sample, whole, step = 0, 0, -(-every // SAMPLE)
    for file in files:
        there = inside(folder, file)
        there.parent.mkdir(parents=True, exist_ok=True)
        if file not in suited:
            there.symlink_to(file.absolute())
            continue
        with writing(there) as out:
            for part, size in parts_of(data, file, step):
                sample, whole = sample + out.write(part), whole + size
    return Thinned(dataclasses.replace(data, path=str(inside(folder, read.at_home(path)))), sample, whole)  # type: ignore[call-arg]


def suits(data: DataConfig, file: Path) -> bool:
    """Says whether some lines of a file are a file of the same kind."""
    name = file.name.removesuffix(".gz")
    return isinstance(data, Parallel) or (data.kind in ("text", "pairs", "table", "chats") and name.endswith(LINED))


def inside(folder: Path, path: Path) -> Path:
    """Returns the place of a file below a folder that stands for the root of the disk."""
    return folder.absolute().joinpath(*path.absolute().parts[1:])


def length(file: Path) -> int:
    """Returns the bytes of the text of a file, about."""
    return file.stat().st_size * (PACKING if file.suffix == ".gz" else 1)


def writing(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "wb", 1)) if path.suffix == ".gz" else path.open("wb")


def parts_of(data: DataConfig, file: Path, step: int) -> Iterator[tuple[bytes, int]]:
    """Yields each `step`-th part of a file, with the bytes that it stands for; or lines that are left out, as b""."""
    if file.suffix != ".gz" and not isinstance(data, Parallel) and not file.name.endswith(".csv"):
        yield from sought(file, step, whole=not (isinstance(data, Text) and data.unit == "file"))
        return
    with read.opened(file) as stream:
        yield from passed(stream, step, by_lines=isinstance(data, Parallel), quoted=".csv" in file.suffixes)


def sought(file: Path, step: int, *, whole: bool) -> Iterator[tuple[bytes, int]]:
    """Yields the parts that begin at each `step` * `PART` bytes, without what lies between. whole: no line is cut."""
    with file.open("rb") as stream:
        end = file.stat().st_size
        for start in range(0, end, step * PART):
            stream.seek(start)
            if start:
                stream.readline(-1 if whole else PART)
            lines, size = list[bytes](), 0
            while size < PART and (line := stream.readline(-1 if whole else PART)):
                lines.append(line)
                size += len(line)
            yield b"".join(lines) if whole else trimmed(b"".join(lines)), min(step * PART, end - start)


def trimmed(part: bytes) -> bytes:
    """Returns a text without the rest of a character that was cut, at its beginning and at its end."""
    first = next((i for i in range(min(4, len(part))) if part[i] & 0xC0 != 0x80), 0)
    for last in range(4):
        try:
            part[first : len(part) - last].decode()
        except UnicodeDecodeError:
            continue
        return part[first : len(part) - last]
    return part  # it is no UTF-8 elsewhere, which its reader will say


def passed(stream: IO[bytes], step: int, *, by_lines: bool, quoted: bool) -> Iterator[tuple[bytes, int]]:
    """Yields each `step`-th part of a stream that is read from its beginning.

    by_lines: a part is so many lines, not so many bytes.
    quoted: a line may go on in the next one, inside quotes.
    """
    number = lines = size = quotes = 0
    for line in stream:
        yield line if number % step == 0 else b"", len(line)
        lines, size = lines + 1, size + len(line)
        quotes += line.count(b'"') if quoted else 0
        if (lines >= LINES if by_lines else size >= PART) and quotes % 2 == 0:
            number, lines, size = number + 1, 0, 0
