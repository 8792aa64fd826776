"""The average of the weights of several runs, a "soup", as a run.   Wortsman et al. 2022, arXiv:2203.05482.

Tested in tests/cli/test_average.py.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor

from transduce.config import to_data
from transduce.data.readers import latents
from transduce.disk import digest, remove, replace_text
from transduce.errors import UserError
from transduce.runs import checkpoint
from transduce.runs.generators import rng_state
from transduce.runs.opening import open_run
from transduce.runs.position import Position, to_state
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.seal import seal
from transduce.runs.weights import best_weights, weights
from transduce.tune.full import Full

NAME = "average.json"
READING = ("tokenizer", "readers")  # folders of a run that say how its columns are read


class Ingredient(NamedTuple):
    """The weights of a run as it is used: its best checkpoint, with adapters merged, and where they are from."""

    path: Path
    recipe: Recipe
    weights: Mapping[str, Tensor]
    source: dict[str, str]


def ingredient(path: Path, checkpoint: str = "best") -> Ingredient:
    """Returns a run as a part of an average. Raises UserError."""
    opened = open_run(Run(path), checkpoint)
    where = opened.checkpoint.resolve()
    source = {"run": str(path), "checkpoint": where.name, "sha256": digest(best_weights(where))}
    return Ingredient(path, opened.recipe, weights(opened.model), source)


def require_alike(first: Ingredient, other: Ingredient) -> None:
    """Raises UserError unless two runs read and predict the same, with weights of the same names and shapes."""
    here, there = first.path, other.path
    if first.recipe.task.kind != other.recipe.task.kind:
        what = f"{there} was trained for task={other.recipe.task.kind}, {here} for task={first.recipe.task.kind}"
        raise UserError(f"{what}; average runs of one task")
    if odd := sorted(first.weights.keys() ^ other.weights.keys()):
        owner, lacks = (here, there) if odd[0] in first.weights else (there, here)
        raise UserError(f"{owner} has the weight `{odd[0]}`, which {lacks} has not; average runs of one model")
    for name, tensor in first.weights.items():
        if tensor.shape != other.weights[name].shape:
            shapes = f"{list(tensor.shape)} in {here} and {list(other.weights[name].shape)} in {there}"
            raise UserError(f"`{name}` has the shape {shapes}; average runs of one model")
    for folder in READING:
        if contents(here / folder) != contents(there / folder):
            what = "tokeniser" if folder == "tokenizer" else "labels, or other readers of columns,"
            raise UserError(f"{there} has another {what} than {here}; average runs that start from one model")


def contents(folder: Path) -> dict[str, str]:
    """Returns the digests of the files in a folder, but for those that say where a model was from."""
    files = (path for path in folder.glob("*") if path.is_file())
    return {path.name: digest(path) for path in files}


def mean(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Returns the mean of every tensor, summed in float64."""
    return {
        name: (sum((part[name].double() for part in parts), torch.zeros(())) / len(parts)).to(tensor.dtype)
        for name, tensor in parts[0].items()
    }


def write(first: Ingredient, averaged: Mapping[str, Tensor], out: Path, record: Mapping[str, Any]) -> Run:
    """Makes a run of averaged weights that reads and predicts as the first of its runs. record: of average.json."""
    beside = out.with_name(f".{out.name}.partial")
    remove(beside)
    try:
        at = beside / "checkpoints" / checkpoint.name(0)
        for name in ("samples", "plots", "checkpoints"):
            (beside / name).mkdir(parents=True)
        for folder in (*READING, latents.COPY):
            if (first.path / folder).is_dir():
                shutil.copytree(first.path / folder, beside / folder)
        state = to_state(Position(), rng_state(torch.device("cpu")), regular=False, healthy=True)
        checkpoint.write(at, {"model.safetensors": dict(averaged), "optimizer.safetensors": {}}, state)
        for link in ("best", "last"):
            checkpoint.point(beside / link, f"checkpoints/{at.name}")
        tune = first.recipe.tune if first.recipe.tune.not_merged else Full()  # adapters are in the weights
        recipe = replace(first.recipe, name=out.name, tune=tune)
        replace_text(beside / "config.yaml", yaml.safe_dump(to_data(recipe), sort_keys=False, allow_unicode=True))
        replace_text(beside / NAME, json.dumps(record, indent=1) + "\n")
        seal(beside)
        out.rmdir() if out.exists() else None
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Run(out)
