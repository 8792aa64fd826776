"""The words that a shell may complete: recipes, runs and keys of a recipe. Imports no torch: a tab must not wait.

The keys are those of the recipe that is named, with its architecture written out, and of the sections that have no
kinds, which are read from the source of their classes.
"""

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import typer

CHAIN = "rlhf"  # several trainings, one after the other, that `train` takes for a recipe
SECTIONS = {  # of a recipe: the module and the class
    "train": ("transduce.runs.recipe", "TrainConfig"),
    "batch": ("transduce.data.loader", "BatchConfig"),
    "generate": ("transduce.generate.config", "GenerateConfig"),
}


def recipe_names(incomplete: str) -> list[tuple[str, str]]:
    """Returns the recipes that begin like a word, and what they do."""
    from transduce import recipes

    return [(name, recipes.about(name)) for name in recipes.names() if name.startswith(incomplete)]


def body_names(incomplete: str) -> list[str]:
    """Returns the recipes and architectures that begin like a word."""
    from transduce import recipes
    from transduce.recipes import architectures

    return [name for name in dict.fromkeys([*recipes.names(), *architectures.names()]) if name.startswith(incomplete)]


def run_names(incomplete: str) -> list[str]:
    """Returns the runs that a word may become: those in its directory, and without a directory also those in runs/."""
    from transduce.runs.listing import is_run

    folder = incomplete.rpartition("/")[0] + "/" if "/" in incomplete else ""
    places = [folder] if folder else ["", "runs/"]
    inside = ((place, path) for place in places if Path(place).is_dir() for path in sorted(Path(place).iterdir()))
    return [
        f"{place}{path.name}" for place, path in inside if f"{place}{path.name}".startswith(incomplete) and is_run(path)
    ]


def recipe_words(context: typer.Context, incomplete: str) -> list[str]:
    """Returns recipes, for the first word, and keys of the recipe that is named, each with its `=`."""
    words = cast("list[str]", context.params.get("words") or [])
    spec = next((word for word in words if "=" not in word and not word.startswith("-")), None)
    names = [name for name, _ in recipe_names(incomplete)] if spec is None else []
    names += [CHAIN] if spec is None and CHAIN.startswith(incomplete) else []
    return names + [f"{key}=" for key in keys(spec) if key.startswith(incomplete)]


def key_names(incomplete: str) -> list[str]:
    """Returns keys of a recipe, and the sections and parts above them."""
    every = keys(None)
    above = {key.rsplit(".", depth)[0] for key in every for depth in range(1, key.count(".") + 1)}
    return sorted(key for key in {*every, *above} if key.startswith(incomplete))


def change_words(incomplete: str) -> list[str]:
    """Returns keys of a recipe, each with its `=`."""
    return [f"{key}=" for key in keys(None) if key.startswith(incomplete)]


def keys(spec: str | None) -> list[str]:
    """Returns the dotted keys of a recipe, as far as its YAML and the source of its sections name them."""
    from transduce import recipes
    from transduce.errors import UserError

    data = dict[str, Any]()
    for changes in ([], [("data.path", ".")]):  # a recipe that needs files is read with a place for them
        with suppress(UserError, OSError):
            data = recipes.read(spec or recipes.DEFAULT, changes, shape=shape)
            break
    own = [key for key in dotted(data) if key != "base"]
    return sorted({*own, *(f"{section}.{field}" for section, place in SECTIONS.items() for field in fields(*place))})


def shape(data: Mapping[str, Any]) -> str:
    """Returns the kind of model that an architecture stands for, as far as it is seen without torch."""
    return "encoder-decoder" if "translation" in str(data.get("objective")) else "decoder"


def dotted(data: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yields the keys of nested mappings that take a value; that of a part takes its kind."""
    for key, value in data.items():
        inner = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if key != "kind" and ("kind" in inner or not inner):
            yield f"{where}{key}"
        yield from dotted(inner, f"{where}{key}.")


def fields(module: str, name: str) -> list[str]:
    """Returns the fields of a config class, from its source: to import it would import torch."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return []
    classes = [one for one in ast.parse(Path(spec.origin).read_bytes()).body if isinstance(one, ast.ClassDef)]
    body = (statement for one in classes if one.name == name for statement in one.body)
    return [one.target.id for one in body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
