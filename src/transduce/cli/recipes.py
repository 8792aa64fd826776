"""`transduce recipes`: the built-in recipes, as files to read, copy and edit."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from transduce import recipes
from transduce.cli.completion import body_names
from transduce.cli.documents import document, option
from transduce.cli.output import for_programs
from transduce.cli.words import fold
from transduce.errors import UserError
from transduce.plain_yaml import plain, read_file
from transduce.recipes import architectures

app = typer.Typer(help="List, show and copy the built-in recipes.", no_args_is_help=True)

NEED = re.compile(r"needs:\n  data\.path: (.*)\n\n(data:\n  kind: .*)\n")  # what only the user can fill in, and where

NAME = typer.Argument(help="A name of `transduce recipes ls`.", show_default=False, autocompletion=body_names)


@app.command("ls")
def list_(
    json: Annotated[bool, option("recipes and architectures, each a list of objects with name, about")] = False,
) -> None:
    """List the recipes, the default first."""
    if json:
        built_in = [{"name": name, "about": recipes.about(name)} for name in recipes.names()]
        bodies = [{"name": name, "about": architectures.about(name)} for name in architectures.names()]
        return document({"recipes": built_in, "architectures": bodies})
    width = max(len(name) for name in recipes.names())
    for name in recipes.names():
        sys.stdout.write(fold(f"{name:{width}}  {recipes.about(name)}", sys.stdout, width + 2) + "\n")
    sys.stdout.write("\nArchitectures, for model=NAME in any recipe:\n")
    width = max(len(name) for name in architectures.names())
    for name in architectures.names():
        sys.stdout.write(fold(f"{name:{width}}  {architectures.about(name)}", sys.stdout, width + 2) + "\n")


@app.command()
@for_programs
def show(
    name: Annotated[str, NAME],
    json: Annotated[bool, option("the keys of the file")] = False,
) -> None:
    """Print a recipe, or else an architecture."""
    of_a_model = name in architectures.names() and name not in recipes.names()
    text = architectures.text(name) if of_a_model else recipes.text(name)
    if json:
        return document(plain(read_file(text, name)))
    sys.stdout.write(text)


@app.command()
def cp(
    name: Annotated[str, NAME],
    file: Annotated[Path | None, typer.Argument(help="Default: NAME.yaml here.", show_default=False)] = None,
    json: Annotated[bool, option("path")] = False,
) -> None:
    """Copy a recipe to a file of your own, for `transduce train FILE.yaml`, whose run is named like the file."""
    source = recipes.text(name)
    file = Path(f"{name}.yaml") if file is None else file / f"{name}.yaml" if file.is_dir() else file
    own = yaml.safe_dump({"name": file.stem}, allow_unicode=True).strip()
    source = re.sub(NEED, r"\n\2\n  path:                     # \1\n", source, count=1)
    source = re.sub(r"^name:.*", lambda _: own, source, count=1, flags=re.MULTILINE)
    try:
        with open(file, "x", encoding="utf-8") as out:
            out.write(source)
    except FileExistsError:
        raise UserError(f"{file} exists already; give another name: transduce recipes cp {name} FILE.yaml") from None
    document({"path": file}) if json else sys.stdout.write(f"{file}\n")


@app.command()
@for_programs
def schema() -> None:
    """Print the JSON Schema of a recipe, for completion and checks in an editor."""
    document(recipe_schema())


def recipe_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a recipe as it is written in a file."""
    from transduce import config
    from transduce.runs.recipe import Recipe

    root = config.schema(Recipe)
    root["$defs"]["Recipe"]["properties"] |= {
        "base": {"type": "string", "description": "The recipe or file this one starts from."},
        "needs": {"type": "object", "description": "Keys only the user can fill, and what they are."},
        "short": {"type": "object", "description": "Words, and the keys that they stand for in changes."},
    }
    shorthands(root["$defs"])
    return root


def shorthands(definitions: dict[str, Any]) -> None:
    """Adds what may stand in a recipe for something longer: an architecture or published model, names of mixers
    for layers."""
    from transduce.catalogue.entry import TEXT, catalogue

    published = [entry.id for entry in catalogue().values() if entry.family in TEXT and entry.buildable]
    model_names = {"enum": [*architectures.names(), *published]}
    definitions["Recipe"]["properties"]["model"]["anyOf"].append(model_names)
    for definition in definitions.values():
        properties = definition.get("properties", {})
        if "layers" in properties and "width" in properties:
            properties["base"] = {
                **model_names,
                "description": "The architecture or published model this one starts from.",
            }
            for key in (key for key in properties if key.endswith("layers")):
                item = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/LayerConfig"}]}
                names = [{"type": "string"}, {"type": "array", "items": item}]
                properties[key] = {"anyOf": [properties[key], *names]}
