"""The meaning of every key of a config, from the docstring of its class: a line `name: meaning` for each field."""

import dataclasses
import inspect
import re

LINE = re.compile(r"([a-z_]\w*): (.+)")


def about(cls: type) -> str:
    """Returns the first line of the docstring of a class."""
    return (inspect.cleandoc(cls.__doc__ or "")).split("\n", 1)[0]


def own_descriptions(cls: type) -> dict[str, str]:
    """Returns what the docstring of a class says of names, one to a line; lines that are indented go on."""
    meanings, name = dict[str, str](), ""
    for line in inspect.cleandoc(cls.__doc__ or "").split("\n"):
        if match := LINE.fullmatch(line):
            name = match[1]
            meanings[name] = match[2]
        elif name and line.startswith(" "):
            meanings[name] += f" {line.strip()}"
        else:
            name = ""
    return meanings


def descriptions(cls: type) -> dict[str, str]:
    """Returns what every field of a config class means: its own docstring says so, or that of a base."""
    every: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            every |= own_descriptions(base)
    return {f.name: every[f.name] for f in dataclasses.fields(cls) if f.name in every}
