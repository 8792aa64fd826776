"""A session in a terminal: a line is typed, and what a model writes is shown as it comes."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from itertools import count

from transduce.errors import UserError

QUIT = "/quit"


def typed(help: str) -> Iterator[str]:
    """Yields the lines that are typed, until Ctrl-D, Ctrl-C or /quit. help: what can be typed, said at first."""
    with suppress(ImportError):
        import_module("readline")  # so that a line can be mended while it is typed
    print(f"{help}, Ctrl-C stops what is written, {QUIT} or Ctrl-D ends", file=sys.stderr)
    while True:
        try:
            line = input("> ")
        except (EOFError, KeyboardInterrupt):
            print(file=sys.stderr)
            return
        if line.strip() == QUIT:
            return
        yield line


def shown(pieces: Iterable[str]) -> str:
    """Writes pieces of a text as they come, and returns the text; Ctrl-C ends it where it is."""
    text = ""
    with suppress(KeyboardInterrupt):
        for piece in pieces:
            text += piece
            sys.stdout.write(piece)
            sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()
    return text


def session(write: Callable[[str, int], Iterable[str]], samples: int, *, goes_on: bool) -> None:
    """Writes on from every line that is typed.

    write: gives the pieces of a text from a prompt and its number, from 0.
    samples: texts for each line.
    goes_on: an empty line stands for the last text, so that it is written on.
    """
    help = "type how a text begins" + ("; an empty line goes on with the last text" if goes_on else "")
    numbers, text = count(), ""
    for line in typed(help):
        prompt = line or (text if goes_on else "")
        for _ in range(samples) if prompt else ():
            try:
                text = shown(write(prompt, next(numbers)))
            except UserError as error:
                print(f"transduce: {error}", file=sys.stderr)
            except KeyboardInterrupt:  # before anything was shown
                print(file=sys.stderr)
