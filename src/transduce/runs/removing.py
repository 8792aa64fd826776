"""Removes runs: each at once, and nothing that a link leads to. Imports no torch.

Tested in tests/cli/test_runs.py.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from transduce.disk import open_own, remove
from transduce.errors import UserError
from transduce.runs.listing import require_run
from transduce.runs.lock import LOCK, owner, take


def require_removable(paths: Sequence[Path]) -> None:
    """Raises UserError unless every path is a run that no process writes in, and that nobody stands in."""
    for path in paths:
        require_run(path)
        if path.is_symlink():
            raise UserError(f"{path} is a link to {path.readlink()}; name that run, or remove the link yourself")
        if Path.cwd().is_relative_to(path.resolve()):
            raise UserError(f"{path} holds the directory you are in; change to another one first")
        if (process := owner(path)) is not None:
            raise UserError(in_use(path, process))


def remove_run(path: Path) -> None:
    """Removes a run. It is renamed first, so that a process that is killed here leaves no half of it under its name.

    Raises UserError where a process began to write in it, and OSError where the disk refuses.
    """
    with open_own(path / LOCK, "a+") as lock:
        if not take(lock):
            raise UserError(in_use(path, owner(path) or "unknown"))
        aside = path.resolve().with_name(f".{path.resolve().name}.removed")
        remove(aside)
        path.rename(aside)
        shutil.rmtree(aside)


def in_use(path: Path, process: str) -> str:
    """Returns the sentence for a run that a process writes in."""
    return f"{path} is being written by process {process}, so it stays; stop that process first"
