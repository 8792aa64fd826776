"""The weights, tokeniser and readers of another model, from which a training starts."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from transduce.data.readers import reader
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.models import Model
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.weights import weights

SCRATCH = "scratch"
SENTENCES = "sentences"  # the folder of a run that says how texts become vectors
SHOWN = 4


class Start(NamedTuple):
    """A model to start from. where: as the recipe says it."""

    where: str
    recipe: Recipe
    readers: Readers
    weights: Mapping[str, Tensor]


def hand_on(start: Start, run: Run, recipe: Recipe) -> None:
    """Puts the tokeniser of a start into a new run and, where both do the same task, the readers of its columns."""
    folder = run.path / "tokenizer"
    if not folder.exists() and start.readers.tokenizer is not None:
        beside = run.path / ".tokenizer"
        start.readers.tokenizer.save(beside)
        beside.rename(folder)
    if start.recipe.task.kind == recipe.task.kind and not (run.path / reader.FOLDER).exists():
        start.readers.save(run.path)
    if (vectors := Path(start.where) / SENTENCES).is_dir() and not (run.path / SENTENCES).exists():
        shutil.copytree(vectors, run.path / SENTENCES)


@torch.no_grad()
def begin(model: Model, start: Start) -> list[str]:
    """Copies the weights of a start into a model; only what a head has may differ. Returns lines to say of it.

    Raises UserError where the shape of another weight differs.
    """
    own, heads = weights(model), ("head.", "heads.", "decoder.head.")
    fresh = [name for name in own if name not in start.weights]
    for name, tensor in own.items():
        if (there := start.weights.get(name)) is None:
            continue
        if there.shape == tensor.shape:
            tensor.copy_(there)
        elif name.startswith(heads):
            fresh.append(name)
        else:
            shapes = f"{list(there.shape)} there, {list(tensor.shape)} here"
            raise UserError(
                f"start={start.where} has another {name} ({shapes}); leave out what changes the model's sizes"
            )
    if odd := [name for name in fresh if not name.startswith(heads)]:
        raise UserError(f"start={start.where} has no {odd[0]}, which this model has; leave out what changes its parts")
    lines = [f"starts from {start.where}: its model, weights and tokeniser"]
    if fresh:
        lines[0] += f", but {listed(fresh)} keep their start values"
    if unused := [name for name in start.weights if name not in own]:
        lines.append(f"{listed(unused)} of {start.where} are not used")
    return lines


def listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
