"""A run: one directory that holds everything about a training, and can be zipped and sent."""

import dataclasses
import errno
import hashlib
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from transduce.config import UnknownKind, from_data, kinds, owners
from transduce.data.columns import Columns
from transduce.data.readers import reader
from transduce.data.readers.reader import NO_TOKENIZER, Readers
from transduce.disk import read_json, replace_text
from transduce.errors import UserError
from transduce.plain_yaml import read_file
from transduce.runs.recipe import Recipe
from transduce.runs.report import read_metrics
from transduce.runs.seal import require_sealed
from transduce.runs.versions import versions
from transduce.tasks.measures.measure import Measure
from transduce.text.sample import every, sampled
from transduce.text.tokenizer import Tokenizer

NEEDED = ("config.yaml", "metrics.jsonl", "checkpoints")  # by a training, from its beginning to its end


@dataclass(frozen=True)
class Run:
    """The directory of a run and what is in it. handle: of that directory, while it is trained in."""

    path: Path
    handle: int | None = None

    @property
    def recipe(self) -> Recipe:
        """Returns the resolved recipe, from config.yaml. Raises UserError where that file was changed."""
        require_sealed(self.path, "config.yaml")
        return read_recipe(self.path)

    @property
    def tokenizer(self) -> Tokenizer:
        """Returns the tokeniser. Raises UserError where its files were changed."""
        require_sealed(self.path, "tokenizer")
        return Tokenizer.load(self.path / "tokenizer")

    @property
    def readers(self) -> Readers:
        """Returns the tokeniser, if any, and the readers of other columns. Raises UserError where they were changed."""
        require_sealed(self.path, reader.FOLDER)
        tokenizer = self.tokenizer if (self.path / "tokenizer").exists() else None
        try:
            return Readers(tokenizer, reader.load(self.path))
        except UnknownKind as error:
            raise not_installed(self.path, error) from None

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Returns the lines of metrics.jsonl so far."""
        return read_metrics(self.path)

    @property
    def result(self) -> dict[str, Any] | None:
        """Returns the result, once training has ended (None before). Raises UserError where it cannot be read."""
        path = self.path / "result.json"
        result = read_json(path) if path.exists() else None
        if result is not None and not all(isinstance(result.get(name), int) for name in ("step", "stale")):
            raise UserError(f"{path} does not say where training ended; remove it to finish the run once more")
        return result

    @property
    def in_place(self) -> bool:
        """Says whether the directory is still the one that is trained in."""
        try:
            return self.handle is None or os.path.samestat(os.fstat(self.handle), self.path.stat())
        except OSError:
            return False

    def require_in_place(self) -> None:
        """Raises UserError where the directory, or what training needs in it, was removed while it was trained in."""
        missing = [name for name in NEEDED if not (self.path / name).exists()]
        if missing or not self.in_place:
            what = f"{self.path}/{missing[0]}" if missing and self.in_place else f"{self.path}"
            raise UserError(
                f"{what} was removed or renamed while the run was trained, so nothing more can be saved; put it back, "
                "or choose another name=, and run the command again"
            )

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """Returns the link to the checkpoint that validated best."""
        return self.path / "best"

    @property
    def last(self) -> Path:
        """Returns the link to the checkpoint saved last."""
        return self.path / "last"


def read_config(path: Path) -> dict[str, Any]:
    """Returns config.yaml of a run as plain data. Raises UserError."""
    file = path / "config.yaml"
    try:
        return read_file(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        raise UserError(f"{path} is not a run: it has no config.yaml; choose another name= or directory") from None
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); restore it from a copy") from None


def read_recipe(path: Path) -> Recipe:
    """Returns the recipe of a run. Raises UserError, naming config.yaml, where something in it cannot be used."""
    data = read_config(path)
    try:
        recipe = from_data(Recipe, data)
        return dataclasses.replace(recipe, task=recipe.task.suited(recipe.data))
    except UnknownKind as error:
        raise not_installed(path, error) from None
    except UserError as error:
        raise UserError(f"{path / 'config.yaml'} cannot be used: {error}") from None


def not_installed(path: Path, error: UnknownKind) -> UserError:
    """Returns the sentence for a kind that a run uses and that is not installed: it names the package it came from."""
    package = packages_of(path).get(error.key)
    if package is None:
        return UserError(f"{path / 'config.yaml'} cannot be used: {error}")
    return UserError(f"{path} was made with {error.key} of the package {package}, which is not here; install {package}")


def packages_of(path: Path) -> dict[str, str]:
    """Returns the package that each part of a run came from, by `FOLDER.KIND`; those of transduce are left out."""
    env = path / "env.json"
    return read_json(env).get("packages", {}) if env.exists() else {}


def record_environment(run: Run, device: torch.device, recipe: Recipe, readers: Readers | None = None) -> None:
    """Writes env.json: what this process runs on, and what parts come from other packages, also those missing now.

    readers: those of the run, once they are fitted.
    """
    measure = kinds(Measure.folder).get(recipe.train.metric)
    parts: list[Any] = [recipe, {} if readers is None else readers.columns, () if measure is None else (measure(),)]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    env = {
        "versions": versions(), "platform": platform.platform(), "device": f"{device} ({name})",
        "cpus": os.cpu_count(), "threads": torch.get_num_threads(),
        "packages": packages_of(run.path) | owners(parts),
    }  # fmt: skip
    replace_text(run.path / "env.json", json.dumps(env, indent=1) + "\n")


def record_data(run: Run, splits: dict[str, Columns], known: dict[str, Any] | None = None) -> None:
    """Writes data.json: size and sha256 of every split. Raises UserError if the run was started on other data.

    known: what is written of each split, where it was found before.
    """
    path = run.path / "data.json"
    now = known or {split: fingerprint(columns) for split, columns in splits.items()}
    old = read_json(path) if path.exists() else now
    for split in ("train", "valid"):
        if old.get(split) != now.get(split):
            what = f"{run.path} was started on other data: `{split}` has changed"
            raise UserError(f"{what}; restore it, or choose another name=")
    replace_text(path, json.dumps(now, indent=1) + "\n")


def fingerprint(columns: Columns) -> dict[str, Any]:
    """Returns examples, characters and one sha256 over all values of a split, column by column; the rows of sources."""
    sha, characters = hashlib.sha256(), 0
    for values in columns.values.values():
        for value in values:
            text = getattr(value, "mark", value)
            text = text if isinstance(text, str) else json.dumps(text)
            sha.update(text.encode() + b"\0")
            characters += len(text)
    plain: dict[str, Any] = {"examples": len(columns), "characters": characters, "sha256": sha.hexdigest()}
    return {**plain, "sources": dict(columns.sources)} if columns.sources else plain


def readers_of(run: Run, recipe: Recipe, train: Columns) -> Readers:
    """Returns the readers of the run: read from it where it has them, else fitted to the training data and saved."""
    folder = run.path / "tokenizer"
    if not folder.exists() and (texts := list(recipe.task.texts(train))):
        if recipe.tokenizer is None:
            raise UserError(NO_TOKENIZER)
        beside = run.path / ".tokenizer"
        recipe.tokenizer.train(sampled(texts, every(sum(map(len, texts))))).save(beside)
        beside.rename(folder)
    if not (run.path / reader.FOLDER).exists():
        Readers(None, recipe.task.readers(train)).save(run.path)
    return run.readers


def refused(path: Path, error: OSError) -> UserError:
    """Returns the sentence for a directory or a disk that takes no more."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"the disk is full, so {path} cannot be written; the checkpoints that are there are whole. "
            "Free some space and run the same command again"
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return UserError(f"{error.filename or path} cannot be written: {reason}; choose another directory for the runs")
