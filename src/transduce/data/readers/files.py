"""The part that readers of files share: names in a column, words of a command, and work on many files at once."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path
from typing import Any, TypeVar

from transduce.data.read import at_home
from transduce.errors import UserError

T = TypeVar("T")


def named(values: Sequence[Any], column: str, what: str = "picture") -> list[str]:
    """Returns names of files. Raises UserError for a value that is none. what: a file holds."""
    names = [str(value) if isinstance(value, Path) else value for value in values]
    for row, name in enumerate(names, 1):
        if not isinstance(name, str) or not name.strip():
            problem = f"row {row} of the column `{column}` is {name!r}, which names no {what}"
            raise UserError(f"{problem}; write the path of a file")
    return names


def each(work: Callable[[str], T], values: Sequence[str]) -> list[T]:
    """Returns work(value) of every value, in order, by as many threads as there are CPUs: what decodes files works
    outside of Python's lock."""
    count = min(os.cpu_count() or 1, 16, len(values))
    if count < 2:
        return [work(value) for value in values]
    with ThreadPoolExecutor(count, thread_name_prefix="transduce-files") as pool:
        return list(pool.map(work, values))


def expanded(words: Sequence[str], own: Callable[[Path], bool], what: str) -> list[str]:
    """Returns the files that words of a command stand for: files, globs, and all files in a folder that are `own`.

    what: such a file holds. Raises UserError where a word stands for none.
    """
    out = list[str]()
    for word in words:
        path = at_home(word)
        if path.is_dir():
            some = [str(p) for p in sorted(path.rglob("*")) if p.is_file() and own(p)]
        elif any(mark in word for mark in "*?[") and not path.exists():
            some = sorted(p for p in glob(str(path), recursive=True) if Path(p).is_file())
        else:
            some = [word]
        if not some:
            raise UserError(f"{word} stands for no {what}; give files, a folder with {what}s, or a glob")
        out += some
    return out
