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
from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.weights import weights

SCRATCH = "scratch"
SENTENCES = "sentences"  # the folder of a run that says how texts become vectors
ORIGIN = "origin"  # the folder of a run that has the small files of the folder it was imported from
SHOWN = 4
ENCODER = "encoder."  # what the weights of the encoder begin with, where a model has a decoder too
HEAD = ("head.", "decoder.head.")  # what the weights of the head begin with


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
        if (files := Path(start.where) / ORIGIN).is_dir() and not (run.path / ORIGIN).exists():
            shutil.copytree(files, run.path / ORIGIN)  # an export writes those again that say nothing of the weights
    if (vectors := Path(start.where) / SENTENCES).is_dir() and not (run.path / SENTENCES).exists():
        shutil.copytree(vectors, run.path / SENTENCES)


@torch.no_grad()
def begin(model: Model, start: Start, config: ModelConfig) -> list[str]:
    """Copies the weights of a start into a model; only what a head has may differ. Returns lines to say of it.

    A head of another kind starts anew, whatever its weights are called. What stands beside the weights of the start,
    such as a prefix, is put beside those of the model. config: of the model, with its head. Raises UserError where the
    shape of another weight differs.
    """
    if start.recipe.tune.not_merged:
        start.recipe.tune.adapt(model, torch.Generator())
    own, heads = weights(model), (*HEAD, "heads.")
    others = other_heads(config, start.recipe.task.shaped(start.recipe.model, start.readers))
    alone = any(map(of_encoder, start.weights)) and not any(map(of_encoder, own))
    names = {name: name for name in start.weights}
    if alone:
        names = {name: name.removeprefix(ENCODER) for name in names if of_encoder(name)}
    given = {here: start.weights[name] for name, here in names.items() if not name.startswith(others)}
    fresh = [name for name in own if name not in given]
    for name, tensor in own.items():
        if (there := given.get(name)) is None:
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
    lines = [f"starts from {start.where}: its {'encoder' if alone else 'model'}, weights and tokeniser"]
    if fresh:
        lines[0] += f", but {listed(fresh)} keep their start values"
    if unused := [name for name in start.weights if (here := names.get(name)) not in own or here not in given]:
        lines.append(f"{listed(unused)} of {start.where} are not used")
    return lines


def of_encoder(name: str) -> bool:
    return name.startswith(ENCODER)


def other_heads(config: ModelConfig, there: ModelConfig) -> tuple[str, ...]:
    """Returns what the weights of those heads begin with that are of another kind in the model started from."""
    names = [name for name, head in config.heads.items() if name in there.heads and there.heads[name].kind != head.kind]
    return (*(f"heads.{name}." for name in names), *(HEAD if config.head.kind != there.head.kind else ()))


def listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
