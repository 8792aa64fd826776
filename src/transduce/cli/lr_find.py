"""`transduce lr-find`: which learning rate to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.documents import document, option
from transduce.cli.explain import answered
from transduce.cli.options import TrainDevice, Words
from transduce.cli.words import recipe_and_overrides
from transduce.recipes import DEFAULT


def lr_find(
    words: Words = None,
    low: Annotated[float, typer.Option(help="The rate of the first update.")] = 1e-6,
    high: Annotated[float, typer.Option(help="The rate of the last one.")] = 1.0,
    updates: Annotated[int, typer.Option(help="Updates between them, at most.")] = 100,
    plot: Annotated[Path, typer.Option(help="The picture of losses by rates, a PNG.")] = Path("lr-find.png"),
    device: TrainDevice = None,
    json: Annotated[bool, option("rates, losses, smooth, own, smallest, steepest, suggestion, plot")] = False,
) -> None:
    """Train a recipe for some updates while its learning rate rises, and suggest one. No run is begun or changed.

    What the recipe says of its schedule does not count here; its tuning, clipping and batches do.
    """
    from transduce import api
    from transduce.runs.report import draw_range

    spec, overrides = recipe_and_overrides(words, DEFAULT)
    if answered(spec, overrides, json):
        return
    overrides += [("train.device", device)] if device is not None else []
    curve = api.lr_find(spec, overrides, low=low, high=high, updates=updates)
    draw_range(curve.rates, curve.losses, curve.smooth, curve.suggestion, curve.own, plot, f"{spec}: range test")
    if json:
        marks = {"smallest": curve.smallest, "steepest": curve.steepest, "suggestion": curve.suggestion}
        return document({**vars(curve), **marks, "plot": plot})
    print(f"{len(curve.rates)} updates, with rates from {curve.rates[0]:.2g} to {curve.rates[-1]:.2g}: {plot}")
    if curve.suggestion is None or curve.steepest is None:
        print("the loss falls at none of these rates; train longer with more --updates, or give other rates")
        return
    print(f"the loss falls fastest at {curve.steepest:.2g} and is smallest at {curve.smallest:.2g}")
    print(f"try optimizer.learning_rate={curve.suggestion:.1g}; the recipe has {curve.own:g}")
