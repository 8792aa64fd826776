"""`transduce train`: from a recipe to a run."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer

from transduce.cli.completion import CHAIN
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

    Several trainings in turn, sft, reward, dpo, grpo and ppo: transduce train rlhf data.path=PAIRS
    """
    from transduce import api

    spec, overrides = recipe_and_overrides(words, DEFAULT)
    if spec == CHAIN:
        chain(overrides + ([("train.device", device)] if device is not None else []), out, quiet=quiet, json=json)
        return
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


def chain(overrides: list[tuple[str, Any]], out: Path, *, quiet: bool, json: bool) -> None:
    """Trains from pairs of answers to three policies, and prints how their answers compare."""
    from transduce.api.rlhf import rlhf
    from transduce.cli import show

    rows = rlhf(overrides, out=out, quiet=quiet or json, say=(lambda _: None) if quiet or json else print)
    if json:
        document({"rows": [row._asdict() for row in rows]})
    elif not quiet:
        show.policies(rows)
