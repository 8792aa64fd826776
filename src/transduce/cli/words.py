"""The words of a command line: dotted overrides, options that were given, lines of text."""

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TextIO, TypeVar

from transduce.data import read
from transduce.errors import UserError
from transduce.plain_yaml import Word

T = TypeVar("T")
R = TypeVar("R")

PASS_ON = {"ignore_unknown_options": True}  # so that --model.width 512 reaches `overrides`

KEY = re.compile(r"[A-Za-z_]\w*(\.\w+)*=")


def overrides(words: Iterable[str] | None) -> list[tuple[str, Any]]:
    """Returns `key=value`, `--key value`, `--key=value` and `--key` (true) as pairs, in order.

    Raises UserError for a word that is none of these.
    """
    rest, pairs = list(words or ()), list[tuple[str, Any]]()
    while rest:
        word = rest.pop(0)
        key = word.removeprefix("--").replace("-", "_") if "=" not in word else word.removeprefix("--")
        if KEY.match(key):
            name, _, value = key.partition("=")
            pairs.append((name, Word(value)))
        elif word.startswith("--"):
            follows = bool(rest) and not rest[0].startswith("--") and not KEY.match(rest[0])
            pairs.append((key, Word(rest.pop(0)) if follows else True))
        else:
            raise UserError(f"`{word}` is not understood; write key=value or --key value, such as model.width=512")
    return pairs


def recipe_and_overrides(words: Iterable[str] | None, default: str) -> tuple[str, list[tuple[str, Any]]]:
    """Returns the recipe, if the first word is one, and the overrides in the words after it."""
    rest = list(words or ())
    has_recipe = bool(rest) and not rest[0].startswith("--") and not KEY.match(rest[0])
    return (rest[0], overrides(rest[1:])) if has_recipe else (default, overrides(rest))


def given(**options: Any) -> dict[str, Any]:
    """Returns the options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def written(value: Any) -> str:
    """Returns a value as it is given on the command line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def lines(file: str, max_chars: int = 1_000_000) -> Iterator[str]:
    """Yields the lines of a file (gz too), or of standard input for `-`, as data are read.

    Raises UserError for what is no UTF-8, and for a line of more than `max_chars` characters.
    """
    if file == read.STANDARD_INPUT and sys.stdin.isatty():
        print("a line each, Ctrl-D to end", file=sys.stderr)
    return read.passing(file, max_chars)


def fold(text: str, stream: TextIO, indent: int = 0) -> str:
    """Returns a text broken between words to the width of a terminal; as it is where the stream is not one."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields the same values, `size` at a time. Where getting one raises UserError, those before it come first."""
    iterator, refusal = iter(values), None
    while refusal is None:
        chunk: list[T] = []
        try:
            for value in islice(iterator, size):
                chunk.append(value)  # what came before an error stays
        except UserError as error:
            refusal = error
        if not chunk:
            break
        yield chunk
    if refusal is not None:
        raise refusal


def results(
    values: Iterable[T], size: int, work: Callable[[list[T]], Iterable[R]], name_of: Callable[[int], str]
) -> Iterator[tuple[int, T, R]]:  # fmt: skip
    """Yields (number from 1, value, result) of every value in order; `work` gives the results of `size` at a time.

    What `work` refuses of all values, it must refuse of none. Where it refuses one, those before it come first; then
    UserError says which one it is, by the name that `name_of` gives its number.
    """
    list(work([]))  # a generator refuses only when it is asked
    number = 1
    for chunk in chunks(values, size):
        yield from _results(chunk, number, work, name_of)
        number += len(chunk)


def _results(
    chunk: list[T], number: int, work: Callable[[list[T]], Iterable[R]], name_of: Callable[[int], str]
) -> Iterator[tuple[int, T, R]]:  # fmt: skip
    try:
        answers = list(work(chunk))
    except UserError as error:
        if len(chunk) == 1:
            message, alone = str(error), "text 0 "  # as a list of one calls it
            joined = f" {message.removeprefix(alone)}" if message.startswith(alone) else f": {message}"
            raise UserError(f"{name_of(number)}{joined}") from None
        half = len(chunk) // 2
        yield from _results(chunk[:half], number, work, name_of)
        yield from _results(chunk[half:], number + half, work, name_of)
        return
    yield from zip(range(number, number + len(chunk)), chunk, answers, strict=True)


def names_of_lines(file: str | None, unit: str = "text") -> Callable[[int], str]:
    """Returns the name of the n-th line of a file or of standard input (None: the n-th text, or other unit, of the
    command line)."""
    if file is None:
        return lambda number: f"{unit} {number}"
    name = "standard input" if file == read.STANDARD_INPUT else file
    return lambda number: f"{name}, line {number}"
