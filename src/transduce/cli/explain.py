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
    found = config.explain(Recipe, key)
    document(found) if json else tell(found)


def answered(spec: str, overrides: Iterable[tuple[str, Any]], json: bool = False) -> bool:
    """Explains the keys that are asked for as KEY=?, of the kinds of the recipe. Returns whether there are any."""
    overrides = list(overrides)
    asked = [key for key, value in overrides if value == "?"]
    if not asked:
        return False
    from transduce import config, recipes
    from transduce.runs import assumed
    from transduce.runs.recipe import Recipe

    try:
        given = [("data.path", "."), *((key, value) for key, value in overrides if value != "?")]  # which may be needed
        data = assumed.complete(recipes.read(spec, given, shape=assumed.shape))
    except UserError:  # the kinds are then the default ones
        data = {}
    found = [config.explain(Recipe, key, dict(chosen_kinds(data))) for key in asked]
    if json:
        document(found)
    else:
        for one in found:
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


def tell(found: "Key") -> None:
    """Prints a key for people."""
    default = "required" if found.required else f"default {written(found.default)}"
    print(fold(f"{found.name}: {found.type}, {default}", sys.stdout, 2))
    print(fold(f"  {as_typed(found.description)}", sys.stdout, 2))
    if found.choices and not found.kinds:
        print(fold(f"  choices: {', '.join(map(written, found.choices))}", sys.stdout, 4))
    if found.kinds:
        print("kinds")
        listed(found.kinds)
    if found.keys:
        print(f"keys of {found.default}" if found.kinds else "keys")
        listed(found.keys)


def as_typed(meaning: str) -> str:
    """Returns a meaning with None as it is written in a recipe."""
    return meaning.replace("None: ", "null: ")


def listed(meanings: dict[str, str]) -> None:
    """Prints names and what they mean, a line each."""
    width = max(map(len, meanings))
    for name, meaning in meanings.items():
        print(fold(f"  {name:{width}}  {as_typed(meaning)}", sys.stdout, width + 4))
