"""Plain data from configs, and plain data with changes laid on it."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from transduce.config.part import Part
from transduce.errors import UserError
from transduce.plain_yaml import Word, read_word
from transduce.scalars import clipped, shown


def to_data(config: Any) -> Any:
    """Returns plain data that `from_data` turns back into an equal config: dicts, lists, numbers, strings, None."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        data = {f.name: to_data(getattr(config, f.name)) for f in dataclasses.fields(config) if f.init}
        return {"kind": config.kind, **data} if isinstance(config, Part) else data
    if isinstance(config, list | tuple):
        return [to_data(v) for v in typing.cast("list[Any]", config)]
    if isinstance(config, dict):
        return {k: to_data(v) for k, v in typing.cast("dict[str, Any]", config).items()}
    return config


def override(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Sets `data["a"]["b"] = value` for "a.b". A `Word` waits for the type of its field; other values stay as they are.

    A changed kind drops the old kind's keys.
    """
    *path, last = dotted.split(".")
    for key in path:
        inner = data.setdefault(key, {})
        if inner is None:  # a section of a file with nothing in it
            inner = data[key] = {}
        if isinstance(inner, str):  # `mixer: attention` is short for `mixer: {kind: attention}`
            inner = data[key] = {"kind": inner}
        if not isinstance(inner, dict):
            raise UserError(f"`{clipped(dotted)}` cannot be set: `{clipped(key)}` is {shown(inner)}, which has no keys")
        data = typing.cast("dict[str, Any]", inner)
    if last == "kind" and data.get("kind") != value:
        data.clear()
    data[last] = read_word(value) if isinstance(value, Word) else value


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `base` with `over` laid on it, mapping by mapping; a part whose kind changes loses its old keys."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        if isinstance(value, Mapping) and isinstance(old, dict):
            new, old = typing.cast("Mapping[str, Any]", value), typing.cast("dict[str, Any]", old)
            out[key] = dict(new) if "kind" in new and new["kind"] != old.get("kind", new["kind"]) else merge(old, new)
        else:
            out[key] = value
    return out
