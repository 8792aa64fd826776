"""Files on the disk: written whole or not at all, never through a link, and checked against hashes."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

from transduce.errors import UserError

CREATE = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe without a reader fails instead of waiting


def digest(path: Path) -> str:
    """Returns the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def mismatch(folder: Path, hashes: Mapping[str, Any]) -> str | None:
    """Returns what is wrong with the files of a folder, in a few words; None: each has the sha256 that is known.

    hashes: sha256 by name; a name is relative and stays inside the folder.
    """
    for name, expected in hashes.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return f"{name!r} is not a file inside it"
        if not path.is_file():
            return f"{name} is missing"
        if digest(path) != expected:
            return f"{name} is not what was written (its sha256 differs)"
    return None


def read_json(path: Path, way: str = "restore it from a copy, or remove it") -> dict[str, Any]:
    """Returns a JSON object. Raises UserError, which ends with `way`: what to do about a file that cannot be read."""
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); {way}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {type(values).__name__}, not an object; {way}")
    return cast("dict[str, Any]", values)


def open_own(path: Path, mode: str) -> IO[Any]:
    """Opens a file for writing, "a" or "w" with "b" or "+", and follows no link. Raises OSError where it is a link."""
    encoding = None if "b" in mode else "utf-8"
    return open(path, mode, encoding=encoding, opener=lambda name, flags: os.open(name, flags | CREATE, 0o666))


def replace_text(path: Path, text: str) -> None:
    """Writes a small file so that nobody sees half of it."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that nobody sees half of it."""
    beside = path.with_name(f".{path.name}.partial")
    remove(beside)
    with open_own(beside, "xb") as file:
        file.write(content)
    beside.replace(path)


def remove(path: Path) -> None:
    """Removes a file, a link (and not what it leads to) or a directory, if there is one. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Forces a file, or the names in a directory, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
