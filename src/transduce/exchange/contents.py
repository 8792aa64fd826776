"""Folders of models whose input is no text, as runs: their contents, and files that are there whole or not at all."""

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import yaml

from transduce.config import to_data
from transduce.data.readers.reader import Readers
from transduce.disk import remove, replace_text
from transduce.exchange.families.family import families
from transduce.exchange.files import read_json, require_new
from transduce.model.models import Model
from transduce.runs import checkpoint
from transduce.runs.generators import rng_state
from transduce.runs.position import Position, to_state
from transduce.runs.recipe import Recipe
from transduce.runs.weights import weights


class Folder(NamedTuple):
    """The contents of a model's folder: the model, its readers, and a recipe for both."""

    model: Model
    readers: Readers
    recipe: Recipe


def is_of(folder: Path, what: Literal["sees", "hears", "acts"]) -> bool:
    """Says whether the model of a folder is of a family that sees, hears, or acts."""
    if not (folder / "config.json").is_file():
        return False
    kind = read_json(folder / "config.json").get("model_type")
    return any(getattr(family, what) for family in families() if family.model_type == kind)


@contextmanager
def whole(out: Path) -> Generator[Path]:
    """Gives a directory that becomes `out` at the end, and is removed where something goes wrong. Raises UserError."""
    require_new(out)
    beside = out.with_name(f".{out.name}.partial")
    remove(beside)
    try:
        yield beside
        out.rmdir() if out.exists() else None
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def save(contents: Folder, folder: Path, out: Path, names: Sequence[str]) -> None:
    """Writes the files of a run. names: of the files of the folder that it keeps in `origin`."""
    recipe, at = contents.recipe.resolve(), out / "checkpoints" / checkpoint.name(0)
    for name in ("samples", "plots", "checkpoints", "origin"):
        (out / name).mkdir(parents=True, exist_ok=True)
    contents.readers.save(out)
    for name in names:
        shutil.copyfile(folder / name, out / "origin" / name)
    state = to_state(Position(), rng_state(torch.device("cpu")), regular=False, healthy=True)
    checkpoint.write(at, {"model.safetensors": weights(contents.model), "optimizer.safetensors": {}}, state)
    for link in ("best", "last"):
        checkpoint.point(out / link, f"checkpoints/{at.name}")
    replace_text(out / "config.yaml", yaml.safe_dump(to_data(recipe), sort_keys=False, allow_unicode=True))
