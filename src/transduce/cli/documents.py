"""The output of `--json`: one document on standard output, or one object per line, and nothing else."""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from typing import Any, cast

import typer

from transduce.cli.output import for_programs


def option(keys: str) -> Any:
    """Returns the option --json of a command, whose help names the keys."""
    return typer.Option("--json", metavar="", help=f"Print one JSON document instead: {keys}.", show_default=False)


def line_option(keys: str) -> Any:
    """Returns the option --json of a command that prints a line per text, whose help names the keys."""
    return typer.Option("--json", metavar="", help=f"Print a JSON object per line instead: {keys}.", show_default=False)


@for_programs
def document(value: Any) -> None:
    """Prints a value as one JSON document."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=not utf_8()) + "\n")


@for_programs
def line(value: Any) -> None:
    """Prints a value as one line of JSON."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=not utf_8()) + "\n")


def utf_8() -> bool:
    """Says whether standard output has every character."""
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"


def plain(value: Any) -> Any:
    """Returns a value as JSON has it: fields by name, numbers that are not finite as null, what it lacks as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if callable(fields := getattr(cast("Any", value), "_asdict", None)):  # of a NamedTuple
        return plain(fields())
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple | map | filter):
        return [plain(inner) for inner in cast("list[Any]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)
