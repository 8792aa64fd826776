"""`transduce prepare`: encodes a corpus once, into files that trainings read."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.documents import document, option
from transduce.cli.explain import answered
from transduce.cli.words import recipe_and_overrides
from transduce.errors import UserError
from transduce.recipes import DEFAULT
from transduce.screen import Screen

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RECIPE|FILE] [KEY=VALUE]...", show_default=False,
        help="A recipe, or a file or folder of data, which gets the recipe that fits it; out=DIR, and changes.",
    ),
]  # fmt: skip


def prepare(
    words: Words = None,
    processes: Annotated[int | None, typer.Option(help="That encode; by default one for each CPU.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", metavar="", help="Print errors only.")] = False,
    json: Annotated[bool, option("path, splits (rows and tokens by column), vocab_size, bytes, shards")] = False,
) -> None:
    """Encode the data of a recipe once: transduce prepare RECIPE out=DIR, then transduce train RECIPE prepared=DIR.

    Started again after a kill, it goes on, and checks every byte of the files that are written already.
    """
    from transduce import api

    spec, overrides = recipe_and_overrides(words, DEFAULT)
    if answered(spec, [pair for pair in overrides if pair[0] != "out"], json):
        return
    out = next((value for key, value in reversed(overrides) if key == "out"), None)
    if out is None:
        raise UserError("`transduce prepare` needs a folder to write into; add out=DIR")
    overrides, progress = [pair for pair in overrides if pair[0] != "out"], Progress(quiet or json)
    result = api.prepare(
        spec, overrides, out=Path(str(out)), processes=processes, say=progress.say, progress=progress.count
    )
    progress.end()
    if json:
        return document(result)
    if not quiet:
        from transduce.cli import show

        show.prepared(result)


class Progress:
    """A line on stderr that counts characters, where stderr is a terminal."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.screen, self.begun, self.last = quiet, Screen(sys.stderr), time.monotonic(), 0.0

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        if not self.quiet:
            self.end()
            self.screen.say(text)

    def count(self, characters: int) -> None:
        """Shows the number of characters that are encoded, at most twice a second."""
        now = time.monotonic()
        if self.quiet or not self.screen.isatty() or now - self.last < 0.5:
            return
        self.last = now
        rate = characters / 1e6 / max(now - self.begun, 0.1)
        self.screen.write(f"\r{characters / 1e6:,.1f} million characters, {rate:,.1f} a second\x1b[K")
        self.screen.flush()

    def end(self) -> None:
        """Clears the line."""
        if self.last:
            self.screen.write("\r\x1b[K")
            self.screen.flush()
