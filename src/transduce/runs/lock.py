"""The lock of a run directory, which one process at a time holds. Imports no torch.

Tested in tests/cli/test_runs.py.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import IO, Any

from transduce.disk import CREATE

LOCK = ".lock"
SECONDS = 0.1  # how long somebody who only looks may hold it


def take(lock: IO[Any]) -> bool:
    """Takes the lock until the file is closed. Returns False where another process holds it."""
    for wait in (SECONDS, None):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if wait is not None:
                time.sleep(wait)
    return False


def owner(run: Path) -> str | None:
    """Returns the number of the process that writes in a run, or "unknown"; None: no process does."""
    try:
        handle = os.open(run / LOCK, (os.O_RDONLY | CREATE) & ~os.O_CREAT)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except OSError:
            return lock.read(20).decode(errors="replace").strip() or "unknown"
