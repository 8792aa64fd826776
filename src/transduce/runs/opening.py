"""A run opened: its model with the weights of a checkpoint, and what it needs to read and write."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from transduce.data.readers import latents
from transduce.data.readers.latents import Codec
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.models import Model
from transduce.objectives import distillation
from transduce.runs import checkpoint as checkpoints
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.weights import best_weights, load_weights
from transduce.tasks.autoencode import codec_of
from transduce.tasks.classifying import ClassifyingConfig
from transduce.tasks.rewards import run as rewards
from transduce.tasks.task import TaskConfig
from transduce.tune.tuning import merge


class Opened(NamedTuple):
    """A run that has been opened: the model, its readers, and the recipe. checkpoint: where its weights are from."""

    model: Model
    readers: Readers
    recipe: Recipe
    checkpoint: Path


def built(recipe: Recipe, readers: Readers, seed: int = 0) -> Model:
    """Returns the model of a recipe with start values. Raises UserError where it does not fit the memory."""
    shaped, size = recipe.task.shaped(recipe.model, readers), recipe.task.size(readers)
    shaped.require_room(size)
    return shaped.build(size, seed)


def open_run(run: Run, checkpoint: str = "best", recipe: Recipe | None = None, *, merged: bool = True) -> Opened:
    """Opens a run. It needs nothing outside its directory.

    checkpoint: best, last, or the name of one in checkpoints/.
    recipe: in place of that of the run.
    merged: put what adapters compute in the place of the weights.
    Raises UserError where the checkpoint is not there or not whole.
    """
    recipe = recipe or run.recipe
    where = run.path / checkpoint if checkpoint in ("best", "last") else run.checkpoints / checkpoint
    if not where.is_dir():
        names = [path.name for path in (run.best, run.last, *sorted(run.checkpoints.glob("*"))) if path.is_dir()]
        there = f"there are {', '.join(names)}" if names else "there is none yet; train it first"
        raise UserError(f"{run.path} has no checkpoint `{checkpoint}`; {there}")
    checkpoints.require_intact(where)
    readers = run.readers
    model = built(recipe, readers)
    recipe.tune.adapt(model, torch.Generator())
    load_weights(model, best_weights(where))
    if merged:
        merge(model)
    return Opened(model, readers, recipe, where)


def calibrated(run: Run, opened: Opened, recipe: Recipe) -> Recipe:
    """Returns a recipe with the temperature that was fitted to the checkpoint that was opened, if one was.

    A temperature that the recipe gives stays.
    """
    task, result = recipe.task, run.result or {}
    fitted = opened.checkpoint.resolve().name == result.get("best") and result.get("calibration")
    if not fitted or not isinstance(task, ClassifyingConfig) or task.temperature != 1.0:
        return recipe
    own = replace(task, temperature=float(fitted["temperature"]))
    return replace(recipe, task=own)


def judge(path: Path) -> tuple[TaskConfig, Model, Readers]:
    """Opens a run that gives rewards to another one."""
    opened = open_run(Run(path))
    return opened.recipe.task, opened.model, opened.readers


def teacher(path: Path) -> tuple[Model, Readers]:
    """Opens a run that another one learns from."""
    opened = open_run(Run(path))
    return opened.model, opened.readers


def autoencoder(path: Path) -> Codec:
    """Opens a run in whose latents another one draws."""
    opened = open_run(Run(path))
    return codec_of(opened.recipe.task, opened.model, opened.readers, path)


rewards.openers[:] = [judge]
distillation.openers[:] = [teacher]
latents.openers[:] = [autoencoder]
