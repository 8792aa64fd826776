"""`transduce plan`: what a training will cost, before it is begun."""

from typing import Annotated

import typer

from transduce.cli.documents import document, option
from transduce.cli.explain import answered
from transduce.cli.options import TrainDevice, Words
from transduce.cli.words import recipe_and_overrides
from transduce.recipes import DEFAULT

KEYS = (
    "name, device, steps, batches (of an epoch), sample, parameters (by part), tokens, forward_flops, training_flops "
    "(of a row of so many tokens), weights, gradients, optimizer, average, activations, update (of the widest batch, "
    "at most), resident (of the process before it) and state (bytes), seconds, probe"
)


def plan(
    words: Words = None,
    probe: Annotated[
        bool, typer.Option(metavar="", help="Time a few updates on real batches; nothing is kept.")
    ] = True,
    device: TrainDevice = None,
    json: Annotated[bool, option(KEYS)] = False,
) -> None:
    """Count parameters, FLOPs and memory of a recipe, and time it."""
    from transduce import api

    spec, overrides = recipe_and_overrides(words, DEFAULT)
    if answered(spec, overrides, json):
        return
    overrides += [("train.device", device)] if device is not None else []
    estimate = api.plan(spec, overrides, probe=probe)
    if json:
        steps = {"name": estimate.recipe.name, "device": str(estimate.device), "steps": estimate.recipe.train.max_steps}
        steps["average"] = estimate.average
        steps["batches"] = estimate.batches
        times = {"seconds": estimate.seconds, "probe": estimate.probe}
        return document({**steps, "sample": estimate.sample, **vars(estimate.costs), **times})
    from transduce.cli import show

    show.plan(estimate)
