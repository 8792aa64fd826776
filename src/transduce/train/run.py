"""A run: one directory that holds everything about a training, and can be zipped and sent."""

import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import yaml

from transduce.config import from_data, to_data
from transduce.data.imported import Imported
from transduce.data.source import Texts
from transduce.errors import UserError
from transduce.text.tokenizer import Tokenizer
from transduce.train.checkpoint import steps
from transduce.train.recipe import Recipe
from transduce.train.report import read_metrics
from transduce.train.resume import versions

# What a run may change on its way: keys that extend it, or do not change its numbers but for rounding.
FREE = {
    "train.max_steps", "train.patience", "train.keep", "train.save_minutes", "train.average",
    "train.tensorboard", "train.threads", "train.device", "train.recompute", "batch.workers", "data.path",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """The directory of a run and what is in it."""

    path: Path

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe, from config.yaml."""
        return from_data(Recipe, read_config(self.path))

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl so far."""
        return read_metrics(self.path)

    @property
    def result(self) -> dict[str, Any] | None:
        """What came out, once training has ended. Raises UserError where it cannot be read."""
        path = self.path / "result.json"
        found = read_json(path) if path.exists() else None
        if found is not None and not all(isinstance(found.get(name), int) for name in ("step", "stale")):
            raise UserError(f"{path} does not say where training ended; remove it to finish the run once more")
        return found

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint that validated best; a link."""
        return self.path / "best"

    @property
    def last(self) -> Path:
        """The checkpoint saved last; a link."""
        return self.path / "last"


def read_config(path: Path) -> dict[str, Any]:
    """config.yaml of a run as plain data. Raises UserError."""
    try:
        return yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is not a run: it has no config.yaml; choose another name= or directory") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path / 'config.yaml'} cannot be read ({error}); restore it from a copy") from None


def read_json(path: Path) -> dict[str, Any]:
    """What was written as a JSON object. Raises UserError."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it from a copy, or remove it") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds {type(found).__name__}, not an object; restore it from a copy, or remove it")
    return cast("dict[str, Any]", found)


@contextmanager
def claim(recipe: Recipe, root: Path) -> Generator[Run]:
    """The run directory of a resolved recipe, made or found again, with the right to write in it.

    A new one goes again with a UserError inside, unless there is a checkpoint in it.
    Raises UserError where it holds another config, belongs to another process, or cannot be written.
    """
    path = root / recipe.name
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        fresh = not path.exists() or all(p.name.startswith(".") for p in path.iterdir())
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / ".lock").open("a+")
    except OSError as error:
        raise refused(path, error) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            told = f"{path} is being written by process {owner}; wait for it, or choose another name="
            raise UserError(told) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        if not fresh:
            require_same(path, recipe)
        replace_text(path / "config.yaml", yaml.safe_dump(to_data(recipe), sort_keys=False, allow_unicode=True))
        for name in ("samples", "plots", "checkpoints"):
            (path / name).mkdir(exist_ok=True)
        try:
            yield Run(path)
        except UserError:
            if made and not steps(path / "checkpoints"):
                shutil.rmtree(path)
                for folder in made[1:]:
                    with suppress(OSError):  # something else is in it by now
                        folder.rmdir()
            raise


def require_same(path: Path, recipe: Recipe) -> None:
    """Raise UserError, naming the keys that differ, if the run at `path` was started from another recipe."""
    old, new = flat(to_data(from_data(Recipe, read_config(path)))), flat(to_data(recipe))
    changed = [key for key in {**old, **new} if key not in FREE and old.get(key) != new.get(key)]
    if old.get("data.kind") == Imported.kind:  # nothing has been trained here yet
        changed = [key for key in changed if key.startswith(("model.", "tokenizer."))]
    if not changed:
        return
    shown = ", ".join(f"{key} (there {old.get(key)!r}, now {new.get(key)!r})" for key in changed[:5])
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    way = "choose another name= for this one, or give the old values to go on with that one"
    if changed == ["schedule.steps"]:
        way = f"add schedule.steps={old['schedule.steps']} to go on at the last rate, or choose another name="
    raise UserError(f"{path} is a run of another config: {shown}{more}; {way}")


def flat(data: Any, where: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    if not isinstance(data, Mapping):
        return {where: data}
    items: dict[str, Any] = {}
    for key, value in cast("Mapping[str, Any]", data).items():
        items |= flat(value, f"{where}.{key}" if where else key)
    return items


def record_environment(run: Run, device: torch.device) -> None:
    """Write env.json: what this process runs on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    env = {
        "versions": versions(), "platform": platform.platform(), "device": f"{device} ({name})",
        "cpus": os.cpu_count(), "threads": torch.get_num_threads(),
    }  # fmt: skip
    replace_text(run.path / "env.json", json.dumps(env, indent=1) + "\n")


def record_data(run: Run, splits: dict[str, Texts]) -> None:
    """Write data.json: size and sha256 of every split. Raises UserError if the run was started on other data."""
    path = run.path / "data.json"
    now = {split: fingerprint(texts) for split, texts in splits.items()}
    old = read_json(path) if path.exists() else now
    for split in ("train", "valid"):
        if old.get(split) != now.get(split):
            what = f"{run.path} was started on other data: `{split}` has changed"
            raise UserError(f"{what}; restore it, or choose another name=")
    replace_text(path, json.dumps(now, indent=1) + "\n")


def fingerprint(texts: Texts) -> dict[str, Any]:
    """Examples, characters and one sha256 over all texts of a split."""
    sha, characters = hashlib.sha256(), 0
    for side in (texts.sources or [], texts.targets):
        for text in side:
            sha.update(text.encode() + b"\0")
            characters += len(text)
    return {"examples": len(texts.targets), "characters": characters, "sha256": sha.hexdigest()}


def tokenizer_of(run: Run, recipe: Recipe, texts: Texts) -> Tokenizer:
    """The tokeniser of the run: read where it is there, else trained on the training texts and kept."""
    folder = run.path / "tokenizer"
    if not folder.exists():
        beside = run.path / ".tokenizer"
        recipe.tokenizer.train([*(texts.sources or ()), *texts.targets]).save(beside)
        beside.rename(folder)
    return Tokenizer.load(folder)


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that it is never seen half written."""
    beside = path.with_name(f".{path.name}.partial")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def refused(path: Path, error: OSError) -> UserError:
    """The sentence for a directory or a disk that takes no more."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"the disk is full, so {path} cannot be written; the checkpoints that are there are whole. "
            "Free some space and run the same command again"
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return UserError(f"{error.filename or path} cannot be written: {reason}; choose another directory for the runs")
