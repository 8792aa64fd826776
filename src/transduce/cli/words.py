"""The words of a command line: dotted overrides, options that were given, lines of text."""

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TextIO

from transduce.errors import UserError

PASS_ON = {"ignore_unknown_options": True}  # so that --model.width 512 reaches `overrides`

KEY = re.compile(r"[A-Za-z_]\w*(\.\w+)*=")


def overrides(words: Iterable[str] | None) -> list[tuple[str, Any]]:
    """`key=value`, `--key value`, `--key=value` and `--key` (true) as pairs, in order.

    Raises UserError for a word that is none of these.
    """
    rest, found = list(words or ()), list[tuple[str, Any]]()
    while rest:
        word = rest.pop(0)
        key = word.removeprefix("--").replace("-", "_") if "=" not in word else word.removeprefix("--")
        if KEY.match(key):
            name, _, value = key.partition("=")
            found.append((name, value))
        elif word.startswith("--"):
            follows = bool(rest) and not rest[0].startswith("--") and not KEY.match(rest[0])
            found.append((key, rest.pop(0) if follows else True))
        else:
            raise UserError(f"`{word}` is not understood; write key=value or --key value, such as model.width=512")
    return found


def recipe_and_overrides(words: Iterable[str] | None, default: str) -> tuple[str, list[tuple[str, Any]]]:
    """The recipe, if the first word is one, and the overrides in the words after it."""
    rest = list(words or ())
    named = bool(rest) and not rest[0].startswith("--") and not KEY.match(rest[0])
    return (rest[0], overrides(rest[1:])) if named else (default, overrides(rest))


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def lines(file: str) -> Iterator[str]:
    r"""The lines of a file, or of standard input for `-`, parted at "\n" alone. Raises UserError if it is not UTF-8."""
    name = "standard input" if file == "-" else file
    if file == "-" and sys.stdin.isatty():
        print("a line each, Ctrl-D to end", file=sys.stderr)
    with sys.stdin.buffer if file == "-" else open(file, "rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield line.decode("utf-8").removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError as error:
                raise UserError(f"{name}, line {number}, byte {error.start}: not UTF-8; convert it first") from None


def fold(text: str, stream: TextIO, indent: int = 0) -> str:
    """A text broken between words to the width of a terminal; as it is where the stream is none."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def chunks(values: Iterable[str], size: int) -> Iterator[list[str]]:
    """The same values, `size` at a time."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
