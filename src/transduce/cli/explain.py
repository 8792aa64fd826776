"""`transduce explain`: what a key of a recipe means, its type, default and choices; and `KEY=?` in other commands."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from transduce.cli.completion import key_names
from transduce.cli.documents import document, option
from transduce.cli.words import fold, written
from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.config import Key

KEYS = "name, type, default, required, choices, description, kinds, keys"


def explain(
    key: Annotated[
        str, typer.Argument(help="Such as model.mixer.heads; default: all sections.", autocompletion=key_names)
    ] = "",
    schema: Annotated[
        bool, typer.Option("--schema", metavar="", help="Print the JSON Schema of a recipe, for an editor.")
    ] = False,
    json: Annotated[bool, option(KEYS)] = False,
) -> None:
    """Say what a key of a recipe means: its type, default and choices; of a part, its kinds.

    The same is said by KEY=? on the command line of train, plan and doctor, where the recipe chooses the kinds.
    """
    if schema:
        from transduce.cli.recipes import recipe_schema

        return document(recipe_schema())
    from transduce import config
    from transduce.runs.recipe import Recipe

    if not key:
        sections = [config.explain(Recipe, name) for name in config.descriptions(Recipe)]
        return document(sections) if json else listed({one.name: one.description for one in sections})
    explained = config.explain(Recipe, key)
    document(explained) if json else tell(explained)


def answered(spec: str, overrides: Iterable[tuple[str, Any]], json: bool = False) -> bool:
    """Explains the keys that are asked for as KEY=?, of the kinds of the recipe. Says whether it had any to explain."""
    overrides = list(overrides)
    keys = [key for key, value in overrides if value == "?"]
    if not keys:
        return False
    from transduce import config, recipes
    from transduce.runs import assumed
    from transduce.runs.recipe import Recipe

    try:
        changes = [
            ("data.path", "."),
            *((key, value) for key, value in overrides if value != "?"),
        ]  # which may be needed
        data = assumed.complete(recipes.read(spec, changes, shape=assumed.shape))
    except UserError:  # the kinds are then the default ones
        data = {}
    explained = [config.explain(Recipe, key, dict(chosen_kinds(data))) for key in keys]
    if json:
        document(explained)
    else:
        for one in explained:
            tell(one)
    return True


def chosen_kinds(data: dict[str, Any], where: str = "") -> Iterable[tuple[str, str]]:
    """Yields the dotted keys of parts, and the kinds that a recipe chooses for them."""
    for name, value in data.items():
        if isinstance(value, dict):
            inner = cast("dict[str, Any]", value)
            if "kind" in inner:
                yield f"{where}{name}", str(inner["kind"])
            yield from chosen_kinds(inner, f"{where}{name}.")
        elif isinstance(value, str):
            yield f"{where}{name}", value


def tell(key: "Key") -> None:
    """Prints a key for people."""
    default = "required" if key.required else f"default {written(key.default)}"
    print(fold(f"{key.name}: {key.type}, {default}", sys.stdout, 2))
    print(fold(f"  {as_typed(key.description)}", sys.stdout, 2))
    if key.choices and not key.kinds:
        print(fold(f"  choices: {', '.join(map(written, key.choices))}", sys.stdout, 4))
    if key.kinds:
        print("kinds")
        listed(key.kinds)
    if key.keys:
        print(f"keys of {key.default}" if key.kinds else "keys")
        listed(key.keys)


def as_typed(meaning: str) -> str:
    """Returns a meaning with None as it is written in a recipe."""
    return meaning.replace("None: ", "null: ")


def listed(meanings: dict[str, str]) -> None:
    """Prints names and what they mean, a line each."""
    width = max(map(len, meanings))
    for name, meaning in meanings.items():
        print(fold(f"  {name:{width}}  {as_typed(meaning)}", sys.stdout, width + 4))
