"""Turns a function that says pieces of text, one after the other, into an iterator of them.

Tested in tests/test_api.py.
"""

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Event, Thread


def listen(write: Callable[[Callable[[str], None]], None]) -> Iterator[str]:
    """Yields each text with which `write(say)` calls `say`, from a thread of its own; its error is raised here.

    Closing the iterator stops the writing: the next `say` raises.
    """
    pieces, unheard = SimpleQueue[str | BaseException | None](), Event()

    def say(text: str) -> None:
        if unheard.is_set():
            raise _Unheard
        pieces.put(text)

    def run() -> None:
        try:
            write(say)
            pieces.put(None)
        except BaseException as error:
            pieces.put(error)

    writer = Thread(target=run, daemon=True)
    writer.start()
    try:
        while (text := pieces.get()) is not None:
            if isinstance(text, BaseException):
                raise text
            if text:
                yield text
    finally:
        unheard.set()
        writer.join()


class _Unheard(Exception):
    """Nobody listens any more."""
