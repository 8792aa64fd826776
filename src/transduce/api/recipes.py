"""Recipes: a built-in one, a YAML file or a run, with overrides."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from transduce import recipes
from transduce.config import from_data, override, to_data
from transduce.errors import UserError
from transduce.runs import assumed
from transduce.runs.recipe import Recipe
from transduce.runs.start import Start

Overrides = Mapping[str, Any] | Iterable[tuple[str, Any]]


def recipe(spec: str = recipes.DEFAULT, overrides: Overrides = ()) -> Recipe:
    """Returns a built-in recipe or a YAML file, with dotted overrides: recipe("dates", {"model.width": 256}).

    model may be the id of a published model, whose shape it then has: {"model": "bert-base", "model.layers": 4}.
    """
    return started(spec, overrides)[0]


def started(
    spec: str, overrides: Overrides = (), out: Path | None = None
) -> tuple[Recipe, Start | None]:  # fmt: skip
    """Returns the recipe that `recipe` returns, and the start of its model.

    out: the directory of runs, where this one may have begun.
    """
    from transduce.catalogue import build as published  # what opening a run needs nothing of
    from transduce.exchange import starting

    changes = pairs(overrides)
    if {"train.max_steps", "train.max_epochs"} <= {key for key, value in changes if value is not None}:
        raise UserError(
            "train.max_steps and train.max_epochs are two ways of saying how long to train; give one of them"
        )
    if spec not in recipes.names():
        spec, changes = starting.of_run(spec, changes)
    data = recipes.read(spec, changes, published.section, shape=assumed.shape)
    data, start = starting.complete(data, changes, out)
    config = from_data(Recipe, data)
    try:
        return config.resolve(), start
    except UserError:
        raise
    except ValueError as error:  # two values that are each right do not fit together
        raise UserError(str(error)) from None


def pairs(overrides: Overrides) -> list[tuple[str, Any]]:
    """Returns overrides, a mapping or pairs, as pairs."""
    return [*cast("Mapping[str, Any]", overrides).items()] if isinstance(overrides, Mapping) else [*overrides]


def changed(config: Recipe, overrides: Overrides, device: str) -> Recipe:
    """Returns a recipe with overrides and the device to use."""
    data = to_data(config)
    for dotted, value in [*pairs(overrides), ("train.device", device)]:
        override(data, dotted, value)
    config = from_data(Recipe, data)
    return dataclasses.replace(config, task=config.task.suited(config.data))
