"""`transduce plan`: what a training will cost, before it is begun."""

from typing import Annotated

import typer

from transduce.cli.options import TrainDevice, Words
from transduce.cli.words import recipe_and_overrides
from transduce.recipes import DEFAULT


def plan(
    words: Words = None,
    probe: Annotated[
        bool, typer.Option(metavar="", help="Time a few updates on real batches; nothing is kept.")
    ] = True,
    device: TrainDevice = None,
) -> None:
    """Count parameters, FLOPs and memory of a recipe, and time it."""
    from transduce import api
    from transduce.cli import show

    spec, overrides = recipe_and_overrides(words, DEFAULT)
    overrides += [("train.device", device)] if device is not None else []
    show.plan(api.plan(spec, overrides, probe=probe))
