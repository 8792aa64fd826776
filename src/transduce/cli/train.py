"""`transduce train`: from a recipe to a run."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, TextIO, cast

import typer

from transduce.cli.documents import document, option
from transduce.cli.explain import answered
from transduce.cli.options import TrainDevice, Words
from transduce.cli.words import recipe_and_overrides
from transduce.recipes import DEFAULT
from transduce.screen import Screen


def train(
    words: Words = None,
    out: Annotated[Path, typer.Option(help="The directory of runs; this one goes to OUT/NAME.")] = Path("runs"),
    quiet: Annotated[bool, typer.Option("--quiet", metavar="", help="Print errors only.")] = False,
    device: TrainDevice = None,
    json: Annotated[bool, option("what `transduce runs show` prints, at the end; nothing before it")] = False,
) -> None:
    """Train a recipe, or go on where the same command was stopped.

    Any key of the recipe can be changed: transduce train dates model.width=256 --train.max-steps 2000
    """
    from transduce import api

    spec, overrides = recipe_and_overrides(words, DEFAULT)
    if answered(spec, overrides, json):
        return
    overrides += [("train.device", device)] if device is not None else []
    run = api.train(spec, overrides, out=out, quiet=quiet or json)
    if json:
        from transduce.runs.detail import detail

        document(detail(run.path))
    elif not quiet:
        from transduce.cli import show

        with redirect_stdout(cast("TextIO", Screen(sys.stdout))):  # the run is done, whoever reads of it
            show.next_commands(run)
