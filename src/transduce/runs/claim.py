"""The right to write in a run directory: one process at a time, one config, and no link that leads out of it."""

import os
import shutil
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import yaml

from transduce.config import from_data, to_data
from transduce.data.imported import Imported
from transduce.disk import open_own, replace_text
from transduce.errors import UserError
from transduce.runs.checkpoint import steps
from transduce.runs.lock import LOCK, take
from transduce.runs.migrate import upgraded
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run, read_config, read_recipe, refused
from transduce.runs.seal import require_sealed, write_config

# What a run may change on its way: keys that extend it, or do not change its numbers but for rounding.
FREE = {
    "train.max_steps", "train.max_epochs", "train.patience", "train.keep", "train.save_minutes", "train.average",
    "train.tensorboard", "train.threads", "train.device", "train.recompute", "batch.workers", "data.path", "prepared",
}  # fmt: skip
LINKS = ("best", "last", ".best.link", ".last.link")  # to checkpoints; the hidden ones are about to be renamed
README = (
    "A run of transduce. config.yaml: the recipe; metrics.jsonl: the numbers; log.txt: what was said; best, last: "
    "checkpoints; samples, plots: to look at. docs/run-directory.md of transduce tells of every file.\n"
)


@contextmanager
def claim(recipe: Recipe, root: Path) -> Generator[Run]:
    """Gives the run directory of a resolved recipe, new or old, with the right to write in it.

    A new directory is removed after a UserError inside, unless it has a checkpoint.
    Raises UserError where it holds another config or a link, belongs to another process, or cannot be written.
    """
    path = root / recipe.name
    folders = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        fresh = not path.exists() or all(p.name.startswith(".") for p in path.iterdir())
        path.mkdir(parents=True, exist_ok=True)
        require_no_links(path)
        lock = open_own(path / LOCK, "a+")
    except OSError as error:
        raise refused(path, error) from None
    with lock, directory(path) as handle:
        own(lock, path)
        run = Run(path, handle)
        if not fresh:
            require_sealed(path, "config.yaml", "tokenizer", "readers")
            recipe = as_begun(path, recipe)
            require_same(path, recipe)
        if fresh or recipe.train.max_epochs is None:  # else it is written when epochs are known in steps
            record_recipe(path, recipe)
        replace_text(path / "README.txt", README)
        for name in ("samples", "plots", "checkpoints"):
            (path / name).mkdir(exist_ok=True)
        try:
            yield run
        except UserError:
            if folders and run.in_place and run.checkpoints.is_dir() and not steps(run.checkpoints):
                shutil.rmtree(path)
                for folder in folders[1:]:
                    with suppress(OSError):  # something else is in it by now
                        folder.rmdir()
            raise


def record_recipe(path: Path, recipe: Recipe) -> None:
    """Writes config.yaml."""
    write_config(path, yaml.safe_dump(to_data(recipe), sort_keys=False, allow_unicode=True))


@contextmanager
def directory(path: Path) -> Generator[int]:
    """Gives a handle of a directory; while it is open, no other directory is taken for this one."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


def own(lock: IO[str], path: Path) -> None:
    """Takes the lock of a run until it is closed. Raises UserError where another process has it."""
    if not take(lock):
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        raise UserError(f"{path} is being written by process {owner}; wait for it, or choose another name=")
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def require_no_links(path: Path) -> None:
    """Raises UserError where something in a run directory leads out of it, or is neither a file nor a directory.

    `best` and `last` are links to a checkpoint beside them.
    """
    for folder, names, files in os.walk(path):
        for inside in (Path(folder) / name for name in (*names, *files)):
            mode = inside.lstat().st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                continue
            if not stat.S_ISLNK(mode):
                raise UserError(f"{inside} is neither a file nor a directory, but a run has nothing else; remove it")
            target = os.readlink(inside)
            if inside.parent != path or inside.name not in LINKS or not points_inside(target):
                raise UserError(
                    f"{inside} is a link to {target}, and a run is written in its own directory only; put the file or "
                    "directory itself there, or remove the link"
                )


def points_inside(target: str) -> bool:
    """Says whether a link beside `checkpoints` leads to one of them."""
    parts = Path(target).parts
    return len(parts) == 2 and parts[0] == "checkpoints" and parts[1] != ".."


def as_begun(path: Path, recipe: Recipe) -> Recipe:
    """Returns the recipe of a run that goes on; where the run is older than a key, with what it has always done."""
    key, old, data = "normalise", read_config(path), to_data(recipe)
    before, after, now = (cast("dict[str, Any]", one.get("tokenizer") or {}) for one in (old, upgraded(old), data))
    if after == before or now.get(key) is None:
        return recipe
    now[key] = after[key]
    return from_data(Recipe, data)


def require_same(path: Path, recipe: Recipe) -> None:
    """Raises UserError, naming the keys that differ, if the run at `path` was started from another recipe."""
    old, new = flat(to_data(read_recipe(path))), flat(to_data(recipe))
    changed = [key for key in {**old, **new} if key not in FREE and old.get(key) != new.get(key)]
    if old.get("data.kind") == Imported.kind:  # nothing has been trained here yet
        changed = [key for key in changed if key.startswith(("model.", "tokenizer."))]
    if recipe.train.max_epochs is not None and None in (old.get("schedule.steps"), new.get("schedule.steps")):
        changed = [key for key in changed if key != "schedule.steps"]  # not known yet
    if not changed:
        return
    differences = ", ".join(f"{key} (there {old.get(key)!r}, now {new.get(key)!r})" for key in changed[:5])
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    way = "choose another name= for this one, or give the old values to go on with that one"
    if changed == ["schedule.steps"]:
        way = f"add schedule.steps={old['schedule.steps']} to keep its learning rates, or choose another name="
    raise UserError(f"{path} is a run of another config: {differences}{more}; {way}")


def flat(data: Any, where: str = "") -> dict[str, Any]:
    """Returns nested mappings as one, with dotted keys."""
    if not isinstance(data, Mapping):
        return {where: data}
    items: dict[str, Any] = {}
    for key, value in cast("Mapping[str, Any]", data).items():
        items |= flat(value, f"{where}.{key}" if where else key)
    return items
