"""The built-in recipes, and how a recipe file, its base and the words of a command line become one mapping.

A recipe is YAML: the keys of `runs.recipe.Recipe`, with three keys more. `base` names the recipe or file it starts
from. `needs` maps dotted keys that only the user can fill to what they are, for the error message. `short` maps words
to the dotted keys that they stand for in what is laid on it.
"""

import dataclasses
import difflib
import importlib.resources
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from transduce import config
from transduce.errors import UserError
from transduce.plain_yaml import LONGEST, plain, read_file
from transduce.recipes import architectures
from transduce.recipes.suited import suited

DEFAULT = "dates"


def names() -> list[str]:
    """Returns the built-in recipes, the default first."""
    files = importlib.resources.files(__name__).iterdir()
    recipes = sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
    return sorted(recipes, key=lambda name: name != DEFAULT)


def text(name: str) -> str:
    """Returns the YAML of a built-in recipe, comments included."""
    if name not in names():
        raise UserError(f"there is no recipe `{name}`{_guess(name)}; `transduce recipes ls` lists them")
    return importlib.resources.files(__name__).joinpath(f"{name}.yaml").read_text("utf-8")


def about(name: str) -> str:
    """Returns the first comment line of a recipe: what it does."""
    return text(name).split("\n", 1)[0].removeprefix("#").strip()


def read(
    spec: str,
    overrides: Iterable[tuple[str, Any]] = (),
    models: architectures.More | None = None,
    *,
    shape: architectures.Shape,
) -> dict[str, Any]:
    """Returns the plain data of a recipe: a built-in name or a YAML file, on its base, with dotted overrides laid on.

    models: the models of names that may stand for a model beside those of architectures.
    shape: the kind of model that the name of an architecture stands for in such data.

    Raises UserError for an unknown recipe, a file that is not YAML, and a needed key without a value.
    """
    data = _with_base(spec, (), models, shape)
    short: Any = data.pop("short", {})
    if not isinstance(short, dict) or not all(isinstance(x, str) for x in cast("dict[Any, Any]", short).values()):
        raise UserError(f"`short` of recipe `{spec}` is {short!r}; it must map words to dotted keys")
    long = [(_long(key, cast("dict[str, str]", short)), value) for key, value in overrides]
    other = any(key == "data.kind" for key, _ in long)
    for dotted, value in sorted(long, key=_depth):
        config.override(data, dotted, value)
        architectures.expand(data, shape, models)
    needs: Any = data.pop("needs", {})
    if not isinstance(needs, dict) or not all(isinstance(key, str) for key in cast("dict[Any, Any]", needs)):
        raise UserError(f"`needs` of recipe `{spec}` is {needs!r}; it must map dotted keys to what they are")
    for dotted, what in cast("dict[str, Any]", needs).items():
        if plain(_at(data, dotted)) in (None, "") and not (other and _foreign(data, dotted)):
            if spec in names() or not Path(str(what)).expanduser().exists():
                raise UserError(f"recipe `{spec}` needs {what}; add {dotted}=...")
            config.override(data, dotted, what)  # who copied the recipe filled it in here
    if isinstance(data.get("data"), dict) and plain(data["data"].get("path", ".")) in (None, ""):
        raise UserError(f"data.path of {spec} is empty; write where your data are behind `path:`, or add data.path=...")
    return data


def _foreign(data: Mapping[str, Any], dotted: str) -> bool:
    """Says whether data of another kind than the recipe's have no such key."""
    section, _, key = dotted.partition(".")
    own = data.get(section)
    kind = plain(cast("Mapping[str, Any]", own).get("kind")) if isinstance(own, Mapping) else None
    chosen = config.kinds("transduce.data").get(str(kind)) if section == "data" else None
    return chosen is not None and key not in {field.name for field in dataclasses.fields(chosen)}


def _long(dotted: str, short: Mapping[str, str]) -> str:
    """Returns a dotted key with the word that it begins with written out.

    An architecture stands in the place of the whole model: laid under the model of a recipe, it would show nowhere.
    """
    first, dot, rest = dotted.partition(".")
    long = f"{short.get(first, first)}{dot}{rest}"
    return long.removesuffix(".base") if long == "model.base" else long


def _depth(override: tuple[str, Any]) -> int:
    """Returns outer keys and kinds first: setting a kind drops the keys of the old one, however they were typed."""
    return override[0].removesuffix(".kind").count(".")


def _with_base(
    spec: str, seen: tuple[str, ...], models: architectures.More | None, shape: architectures.Shape
) -> dict[str, Any]:  # fmt: skip
    if spec in seen:
        raise UserError(f"the recipes {' -> '.join([*seen, spec])} are based on each other; remove one `base`")
    data = _load(spec)
    base = data.pop("base", None)
    if base is None:
        architectures.expand(data, shape, models)
        return data
    if spec.endswith((".yaml", ".yml")) and str(base).endswith((".yaml", ".yml")):
        base = str(Path(spec).parent / str(base))  # a file names its base as seen from where it lies
    merged = config.merge(_with_base(str(base), (*seen, spec), models, shape), data)
    if architectures.named(data.get("model")):
        merged["model"] = data["model"]  # in place of the model of the base
        architectures.expand(merged, shape, models)
    return merged


def _load(spec: str) -> dict[str, Any]:
    if spec in names():
        source = text(spec)
    elif spec and (sentence := suited(Path(spec))) is not None:
        raise UserError(sentence)
    elif (file := Path(spec)).is_file():
        if (size := file.stat().st_size) > 4 * LONGEST:
            raise UserError(f"{spec} has {size:,} bytes, more than any recipe; name data as data.path={spec}")
        try:
            source = file.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{spec} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    else:
        raise UserError(f"there is no recipe or file `{spec}`{_guess(spec)}; `transduce recipes ls` lists the recipes")
    data = read_file(source, spec)
    if data is None:
        raise UserError(f"{spec} is empty; `transduce recipes cp` makes a recipe to start from")
    if not isinstance(data, Mapping):
        raise UserError(f"{spec} holds {type(data).__name__}, but a recipe is a mapping; see `transduce recipes show`")
    recipe = dict(cast("Mapping[str, Any]", data))
    return recipe if "name" in recipe else {"name": Path(spec).stem, **recipe}


def _at(data: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        data = cast("dict[str, Any]", data).get(key) if isinstance(data, dict) else None
    return data


def _guess(name: str) -> str:
    files = [f"{name}{suffix}" for suffix in (".yaml", ".yml") if Path(f"{name}{suffix}").is_file()]
    close = files or difflib.get_close_matches(name, names(), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""
