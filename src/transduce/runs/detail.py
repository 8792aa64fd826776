"""Everything about one run: its recipe where that differs from the defaults, its data, result, checkpoints and size.

Tested in tests/cli/test_runs.py.
"""

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from transduce.config import Part, default_of, from_data, override, to_data
from transduce.disk import read_json
from transduce.errors import UserError
from transduce.runs.figures import readable_result
from transduce.runs.integrity import fault, read_state
from transduce.runs.listing import Summary, summary
from transduce.runs.recipe import Recipe
from transduce.runs.run import read_recipe


@dataclass(frozen=True)
class Saved:
    """A checkpoint.

    problem: what is wrong with it (None: every file is what was written).
    links: which of best and last lead to it.
    """

    name: str
    step: int | None
    bytes: int
    problem: str | None
    links: tuple[str, ...]


@dataclass(frozen=True)
class Detail:
    """A run in full.

    config: keys that differ from the defaults of their kinds, or the reason why the recipe cannot be read.
    data: examples and characters of every split.
    result: what result.json holds (None: the training has not ended).
    bytes: of all files.
    """

    summary: Summary
    config: dict[str, Any] | str
    data: dict[str, Any]
    result: dict[str, Any] | None
    checkpoints: tuple[Saved, ...]
    bytes: int


def detail(path: Path) -> Detail:
    """Returns everything about a run; checkpoints are read whole, to compare their sha256."""
    try:
        config: dict[str, Any] | str = changed(read_recipe(path))
    except UserError as error:
        config = str(error)
    splits = sizes(path)
    data = {name: {key: value for key, value in split.items() if key != "sha256"} for name, split in splits.items()}
    return Detail(summary(path), config, data, readable_result(path)[0], tuple(saved(path)), size(path))


def sizes(path: Path) -> dict[str, dict[str, Any]]:
    """Returns what data.json says of every split; nothing where it cannot be read."""
    try:
        splits = read_json(path / "data.json") if (path / "data.json").is_file() else {}
    except UserError:
        return {}
    return {name: cast("dict[str, Any]", split) for name, split in splits.items() if isinstance(split, dict)}


def saved(path: Path) -> Iterator[Saved]:
    """Yields the checkpoints of a run by name."""
    links = {name: (path / name).resolve().name for name in ("best", "last") if (path / name).is_dir()}
    folders = sorted((path / "checkpoints").glob("*")) if (path / "checkpoints").is_dir() else []
    for folder in (one for one in folders if one.is_dir() and not one.name.startswith(".")):
        step = read_state(folder).get("step")
        to = tuple(name for name, target in links.items() if target == folder.name)
        yield Saved(folder.name, step if isinstance(step, int) else None, size(folder), fault(folder), to)


def size(path: Path) -> int:
    """Returns the bytes of all files in a directory, links not followed."""
    files = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in files if file.exists())


def changed(recipe: Recipe) -> dict[str, Any]:
    """Returns the dotted keys of a recipe that differ from the defaults of their kinds, and their values.

    Left out are the name, and what follows from other keys.
    """
    values = dict(differences(recipe))
    values.pop("name", None)
    return {key: value for key, value in values.items() if not follows(recipe, key)}


def differences(config: Any, usual: Any = dataclasses.MISSING, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the keys of a config that differ from another one of its kind, else from the defaults of its class."""
    for field in (field for field in dataclasses.fields(config) if field.init):
        value, path = getattr(config, field.name), f"{where}{field.name}"
        default = default_of(field) if usual is dataclasses.MISSING else getattr(usual, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            same = type(default) is type(value)
            if isinstance(value, Part) and not same:
                yield f"{path}.kind", value.kind
            yield from differences(value, default if same else dataclasses.MISSING, f"{path}.")
        elif value != default:
            yield path, to_data(value)


def follows(recipe: Recipe, key: str) -> bool:
    """Says whether a value is there without being given, since it follows from others when a recipe is resolved."""
    data = to_data(recipe)
    override(data, key, None)
    try:
        return from_data(Recipe, data).resolve() == recipe
    except ValueError:
        return False
