"""Find and open text files: gz, globs and errors are the same for every kind of data, and for every command.

What the bytes say, `encoding` knows. Text is held in memory, so a file that would fill it is refused by its name.
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

INFLATED, RATIO = 100 << 20, 50  # bytes, and times its size: what a gz file may unpack to; text packs 3 to 10 times
LINE = 64  # bytes that Python needs for a line beside its text
STANDARD_INPUT = "-"


def text(path: Path) -> str:
    """All of a file, gz or plain, without a byte order mark. Where there is none of this name, that with .gz behind it.

    Raises UserError where it is missing, unreadable, empty, too large, no valid gz, or not UTF-8.
    """
    path = packed(path)
    require_bounded(path)
    with opened(path) as stream:
        whole = encoding.text(stream, str(path))
    if not whole:
        raise UserError(f"{path} is empty; give a file with text in it, or leave it out")
    return whole


def lines(path: Path, max_chars: int) -> list[str]:
    """The lines of a file without their ends. Raises UserError as `text` does, and for one beyond `max_chars`."""
    return list(each(path, max_chars))


def each(path: Path, max_chars: int, hint: str = "split the line, or raise data.max_chars") -> Iterator[str]:
    """`lines`, one by one."""
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
    """`each` of a file of any size, whose lines are used one by one and not kept."""
    path, empty = packed(path), True
    with opened(path) as stream:
        for line in encoding.lines(stream, str(path), max_chars, "split the line, or raise data.max_chars"):
            empty = False
            yield line
    if empty:
        raise UserError(f"{path} is empty; give a file with text in it, or leave it out")


def passing(file: str, max_chars: int) -> Iterator[str]:
    """The lines of a file, or of standard input for `-`, which are used one by one and not kept."""
    if file == STANDARD_INPUT:
        yield from encoding.lines(sys.stdin.buffer, "standard input", max_chars)
        return
    with opened(Path(file), "") as stream:
        yield from encoding.lines(stream, file, max_chars)


def packed(path: Path) -> Path:
    """The path itself, or the one with .gz behind it where only that is there."""
    other = path.with_name(f"{path.name}.gz")
    return other if not path.exists() and other.is_file() else path


@contextmanager
def opened(path: Path, hint: str = "; check data.path") -> Generator[BinaryIO]:
    """The bytes of a file, unpacked. hint: what to do where it is missing. Raises UserError, also while it is read."""
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
    """Raise UserError where a file holds more than fits memory, or a gz file unpacks to what no text does."""
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
                told = f"{path} has {size:,} bytes and unpacks to more than {most:,}, which is unusual for text"
                raise UserError(f"{told}; unpack it yourself with gunzip if it is right")


def at_home(path: str) -> Path:
    """A path whose ~ is the home of the user, and ~name that of another. Raises UserError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path} begins with the home of a user who is unknown here; write the whole path") from None


def expand(folder: Path, pattern: str, extensions: Sequence[str] = ("",)) -> list[Path]:
    """The files that a name or a glob stands for, in order; an absolute pattern ignores `folder`.

    A name is tried as it stands and with each of `extensions`, plain and with .gz behind. None found: an empty list.
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
    """`expand`, raising UserError where nothing is found."""
    found = expand(folder, pattern, extensions)
    if not found and any(c in pattern for c in "*?["):
        raise UserError(f"no file matches {folder / pattern}{hint and hint + ' and the pattern'}")
    if not found:
        extension = "" if Path(pattern).suffix else next((e for e in extensions if e), "")
        raise UserError(missing(folder / (pattern + extension), hint))
    return found


def missing(path: Path, hint: str = "; check data.path") -> str:
    """The sentence for a file that is not there: the nearest name beside it, or the first folder that is missing."""
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
