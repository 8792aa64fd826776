"""Standard output: for people, with stand-ins for what a terminal lacks; for programs, right or refused."""

import io
import os
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TextIO, TypeVar, cast

from transduce.errors import UserError
from transduce.screen import STAND_IN, Screen

P = ParamSpec("P")
R = TypeVar("R")


class Closed(io.TextIOBase):
    """Stands for a standard output that is closed: nobody can read what is written there."""

    def write(self, text: str) -> int:
        raise UserError("standard output is closed, so nobody can read what this command writes; leave it open")


@contextmanager
def prepared() -> Generator[None]:
    """Makes everything printable for people inside, on any terminal and on none."""
    before, way = (sys.stdout, sys.stderr), getattr(sys.stdout, "errors", None)
    missing = cast("TextIO | None", sys.stdout) is None
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # as after `>&-`; the file takes that number, so that no other file does
                setattr(sys, name, stack.enter_context(open(os.devnull, "w", encoding="utf-8")))
        handle_errors(sys.stdout, STAND_IN)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
            if not missing:
                Screen(sys.stdout).flush()
                handle_errors(sys.stdout, way or "strict")


def for_programs(command: Callable[P, R]) -> Callable[P, R]:
    """Has a command write text that programs read: a character that standard output lacks ends it with a sentence."""

    @wraps(command)
    def strict(*args: P.args, **options: P.kwargs) -> R:
        if getattr(sys.stdout, "name", None) == os.devnull:  # of `prepared`
            sys.stdout = cast("TextIO", Closed())
        handle_errors(sys.stdout, "strict")
        return command(*args, **options)

    return strict


def handle_errors(stream: Any, way: str) -> None:
    """Chooses what becomes of characters that the encoding of a stream lacks."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=way)


def unwritable(error: UnicodeEncodeError) -> str:
    """Returns what to tell the user of a text that standard output lacks characters for."""
    character = ascii(error.object[error.start])
    return f"standard output is {error.encoding}, which lacks {character}; set PYTHONIOENCODING=utf-8 and run it again"
