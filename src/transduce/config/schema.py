"""The JSON Schema of a config class."""

import dataclasses
import types
import typing
from typing import Any

from transduce.config.part import Part, kinds


def schema(cls: type) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a config class, with one branch per kind of every part."""
    definitions: dict[str, Any] = {}
    root = _schema_of(cls, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def _schema_of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    simple = {int: "integer", float: "number", bool: "boolean", str: "string", type(None): "null"}
    if hint in simple:
        return {"type": simple[hint]}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema_of(a, definitions) for a in args]}
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin is tuple:
        return {"type": "array", "items": _schema_of(args[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema_of(args[1], definitions)}
    if isinstance(hint, type) and issubclass(hint, Part) and "kind" not in vars(hint):
        found = kinds(hint.folder)
        return {"anyOf": [{"enum": list(found)}, *(_schema_of(c, definitions) for c in found.values())]}
    if not dataclasses.is_dataclass(typing.cast("Any", hint)):
        return {}
    hint = typing.cast("type[Any]", hint)
    name = hint.__name__
    if name not in definitions:
        definitions[name] = {}  # a part may contain its own kind
        hints = typing.get_type_hints(hint)
        properties = {f.name: _schema_of(hints[f.name], definitions) for f in dataclasses.fields(hint)}
        if issubclass(hint, Part):
            properties = {"kind": {"const": hint.kind}, **properties}
        definitions[name] = {
            "type": "object", "description": (hint.__doc__ or "").strip().split("\n")[0],
            "properties": properties, "additionalProperties": False,
        }  # fmt: skip
    return {"$ref": f"#/$defs/{name}"}
