"""Find and read text files: gz, globs, encodings and errors are the same for every kind of data.

Text is UTF-8; a line ends with "\\n" (or "\\r\\n"), never with the other marks at which `str.splitlines` cuts.
"""

import difflib
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from transduce.errors import UserError


def text(path: Path) -> str:
    """All of a file, gz or plain, without a byte order mark. Where there is none of this name, that with .gz behind it.

    Raises UserError where it is missing, unreadable, empty, no valid gz, or not UTF-8 (naming the line and the byte).
    """
    if not path.exists() and (packed := path.with_name(f"{path.name}.gz")).is_file():
        path = packed
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif data[:2] == b"\x1f\x8b":
            raise UserError(f"{path} is gzip, which its name does not say; rename it to {path.name}.gz")
    except FileNotFoundError:
        raise UserError(missing(path)) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is not a whole gzip file ({error}); copy it again") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if not data:
        raise UserError(f"{path} is empty; give a file with text in it, or leave it out")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path} is not UTF-8: line {line} has the byte 0x{data[error.start]:02x} at offset {error.start}; "
            f"convert the file, for example with iconv -f latin1 -t utf-8"
        ) from None


def lines(path: Path, max_chars: int) -> list[str]:
    """The lines of a file without their ends. Raises UserError where one has more than `max_chars` characters."""
    found = text(path).split("\n")
    if found[-1] == "":  # the file ends with a line end, as it should
        found.pop()
    found = [line[:-1] if line.endswith("\r") else line for line in found]
    for number, line in enumerate(found, 1):
        require_short(line, path, number, max_chars)
    return found


def require_short(line: str, path: Path, number: int, max_chars: int) -> None:
    """Raise UserError where a line is beyond the limit: more often a wrong file than a long sentence."""
    if len(line) > max_chars:
        raise UserError(
            f"{path}, line {number}, has {len(line)} characters, more than max_chars={max_chars}; "
            f"split the line, or raise data.max_chars"
        )


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


def required(folder: Path, pattern: str, extensions: Sequence[str] = ("",)) -> list[Path]:
    """`expand`, raising UserError where nothing is found."""
    found = expand(folder, pattern, extensions)
    if not found and any(c in pattern for c in "*?["):
        raise UserError(f"no file matches {folder / pattern}; check data.path and the pattern")
    if not found:
        extension = "" if Path(pattern).suffix else next((e for e in extensions if e), "")
        raise UserError(missing(folder / (pattern + extension)))
    return found


def missing(path: Path) -> str:
    """The sentence for a file that is not there: the nearest name beside it, or the first folder that is missing."""
    parent = path.parent
    if not parent.is_dir():
        there = next(p for p in parent.parents if p.is_dir() or p == p.parent)
        absent = parent.relative_to(there).parts[0]
        return f"{path} does not exist: there is no `{absent}` in {there.absolute()}{_near(absent, there)}"
    return f"{path} does not exist{_near(path.name, parent)}; check data.path"


def _near(name: str, folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; the nearest name there is `{close[0]}`" if close else ""


def numbered(paths: Sequence[Path], max_chars: int) -> Iterator[tuple[Path, int, str]]:
    """(file, line number from 1, line) over several files."""
    for path in paths:
        for number, line in enumerate(lines(path, max_chars), 1):
            yield path, number, line
