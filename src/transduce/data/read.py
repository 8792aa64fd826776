"""Finds and opens text files: gz, globs and errors are the same for every kind of data, and for every command.

`encoding` decodes the bytes. Text is held in memory, so a file that is larger than half of it is refused.
"""

import difflib
import gzip
import sys
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from transduce.data import encoding
from transduce.errors import UserError, memory

# A gz file may unpack to so many bytes, or so many times its size. (Text is packed to a third or a tenth.)
INFLATED, RATIO = 100 << 20, 50
LINE = 64  # bytes that Python needs for a line beside its text
STANDARD_INPUT = "-"


def text(path: Path) -> str:
    """Returns the text of a file, gz or plain, without a byte order mark.

    Where no file has this name, the one with .gz behind the name is read.
    Raises UserError where the file is missing, unreadable, empty, too large, not valid gz, or not UTF-8.
    """
    path = packed(path)
    require_bounded(path)
    with opened(path) as stream:
        whole = encoding.text(stream, str(path))
    if not whole:
        raise UserError(f"{path} is empty; give a file with text in it, or leave it out")
    return whole


def lines(path: Path, max_chars: int) -> list[str]:
    """Returns the lines of a file without their ends.

    Raises UserError as `text` does, and for a line of more than `max_chars` characters.
    """
    return list(each(path, max_chars))


def each(path: Path, max_chars: int, hint: str = "split the line, or raise data.max_chars") -> Iterator[str]:
    """Yields the lines of a file, as `lines` returns them. hint: the advice of the error for a long line."""
    path = packed(path)
    require_bounded(path)
    room = whole = memory() // 2
    with opened(path) as stream:
        for line in encoding.lines(stream, str(path), max_chars, hint):
            room -= len(line) + LINE
            if room < 0:
                raise UserError(f"{path} holds more text than half of this machine's memory; give a part of it")
            yield line
    if room == whole:
        raise UserError(f"{path} is empty; give a file with text in it, or leave it out")


def each_of_any(path: Path, max_chars: int) -> Iterator[str]:
    """Yields the lines of a file of any size, as `each` does, for a caller that does not keep them."""
    path, empty = packed(path), True
    with opened(path) as stream:
        for line in encoding.lines(stream, str(path), max_chars, "split the line, or raise data.max_chars"):
            empty = False
            yield line
    if empty:
        raise UserError(f"{path} is empty; give a file with text in it, or leave it out")


def passing(file: str, max_chars: int) -> Iterator[str]:
    """Yields the lines of a file, or of standard input for `-`, for a caller that does not keep them."""
    if file == STANDARD_INPUT:
        yield from encoding.lines(sys.stdin.buffer, "standard input", max_chars)
        return
    with opened(Path(file), "") as stream:
        yield from encoding.lines(stream, file, max_chars)


def packed(path: Path) -> Path:
    """Returns the path, or the path with .gz behind it where only that exists."""
    other = path.with_name(f"{path.name}.gz")
    return other if not path.exists() and other.is_file() else path


@contextmanager
def opened(path: Path, hint: str = "; check data.path") -> Generator[BinaryIO]:
    """Opens a file as a stream of unpacked bytes. Raises UserError, also while the stream is read.

    hint: the advice of the error for a missing file.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield cast("BinaryIO", stream)
    except FileNotFoundError:
        raise UserError(missing(path, hint)) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is not a whole gzip file ({error}); copy it again") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def require_bounded(path: Path) -> None:
    """Raises UserError where a file exceeds half of the memory, or where a gz file unpacks to more than text does."""
    if not path.is_file():
        return
    size = path.stat().st_size
    if path.suffix != ".gz":
        if size > memory() // 2:
            share = f"{size / 1e9:,.0f} GB of text, but this machine has {memory() / 1e9:,.0f} GB of memory"
            raise UserError(f"{path} holds {share}; give a part of it")
        return
    most, inflated = min(max(INFLATED, RATIO * size), memory() // 2), 0
    if size * 1100 < most:  # deflate packs 1,032 times at best
        return
    with opened(path) as stream:
        while chunk := stream.read(1 << 20):
            inflated += len(chunk)
            if inflated > most:
                problem = f"{path} has {size:,} bytes and unpacks to more than {most:,}, which is unusual for text"
                raise UserError(f"{problem}; unpack it yourself with gunzip if it is right")


def at_home(path: str) -> Path:
    """Returns a path in which ~ is the user's home, and ~name that of another. Raises UserError for an unknown user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path} begins with the home of a user who is unknown here; write the whole path") from None


def expand(folder: Path, pattern: str, extensions: Sequence[str] = ("",)) -> list[Path]:
    """Returns the files that a name or a glob stands for, in order; none where nothing matches.

    folder: is searched, except for an absolute pattern.
    extensions: a name is tried alone and with each of them, plain and with .gz behind.
    """
    if any(c in pattern for c in "*?["):
        base, relative = (Path("/"), pattern.lstrip("/")) if pattern.startswith("/") else (folder, pattern)
        try:
            return sorted(path for path in base.glob(relative) if path.is_file())
        except ValueError:
            raise UserError(f"{pattern}: ** stands for folders, alone between slashes; use * within a name") from None
    for extension in ("", *extensions):
        for ending in ("", ".gz"):
            path = folder / f"{pattern}{extension}{ending}"
            if path.is_file():
                return [path]
    return []


def required(
    folder: Path, pattern: str, extensions: Sequence[str] = ("",), hint: str = "; check data.path"
) -> list[Path]:  # fmt: skip
    """Returns the files that a name or a glob stands for, as `expand` does. Raises UserError where nothing matches."""
    paths = expand(folder, pattern, extensions)
    if not paths and any(c in pattern for c in "*?["):
        raise UserError(f"no file matches {folder / pattern}{hint and hint + ' and the pattern'}")
    if not paths:
        extension = "" if Path(pattern).suffix else next((e for e in extensions if e), "")
        raise UserError(missing(folder / (pattern + extension), hint))
    return paths


def missing(path: Path, hint: str = "; check data.path") -> str:
    """Returns the message for a missing file, with the nearest name beside it, or the first folder that is missing."""
    parent = path.parent
    if not parent.is_dir():
        there = next(p for p in parent.parents if p.is_dir() or p == p.parent)
        absent = parent.relative_to(there).parts[0]
        return f"{path} does not exist: there is no `{absent}` in {there.absolute()}{_near(absent, there)}"
    return f"{path} does not exist{_near(path.name, parent)}{hint}"


def _near(name: str, folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; the nearest name there is `{close[0]}`" if close else ""
