"""Remarks of the library, told to who asked: warnings are of a process, but an answer is of a thread."""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import local
from typing import Any

from transduce.errors import Notice

HERE = local()


@contextmanager
def noticed() -> Generator[list[str]]:
    """Inside, every `Notice` of this thread goes to the list, once `install` was called."""
    HERE.notices = []
    try:
        yield HERE.notices
    finally:
        HERE.notices = None


def install() -> None:
    """Has every `Notice` be said each time, to who collects them in its thread, or else as before."""
    warnings.simplefilter("always", Notice)
    warnings.showwarning = sorted_by_thread(warnings.showwarning)


def sorted_by_thread(show: Callable[..., None]) -> Callable[..., None]:
    """Returns what shows a warning."""

    def line(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        notices = getattr(HERE, "notices", None)
        if notices is None or not issubclass(category, Notice):
            show(message, category, *where, **more)
        else:
            notices.append(str(message))

    return line
