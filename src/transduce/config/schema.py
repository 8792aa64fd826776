"""The JSON Schema of a config class."""

import dataclasses
import types
import typing
from typing import Any

from transduce.config.descriptions import about, descriptions
from transduce.config.part import Part, default_of, kinds
from transduce.config.writing import to_data


def schema(cls: type) -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of a config class, with one branch per kind of every part."""
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
        return _part(hint, definitions)
    if not dataclasses.is_dataclass(typing.cast("Any", hint)):
        return {}
    return {"$ref": f"#/$defs/{_define(typing.cast('type[Any]', hint), definitions)}"}


def _part(hint: type[Part], definitions: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a part: the name of a kind, or a mapping whose `kind` says which it is."""
    refs = {name: _schema_of(kind, definitions) for name, kind in kinds(hint.folder).items()}
    names = {"enum": list(refs), "description": "The kind, with its defaults."}
    by_kind = {"propertyName": "kind", "mapping": {name: ref["$ref"] for name, ref in refs.items()}}
    return {"anyOf": [names, *refs.values()], "discriminator": by_kind}


def _define(cls: type[Any], definitions: dict[str, Any]) -> str:
    """Puts the schema of a config class among the definitions, once, and returns its name."""
    name = cls.__name__
    if name in definitions:
        return name
    definitions[name] = {}  # a part may contain its own kind
    hints, meanings = typing.get_type_hints(cls), descriptions(cls)
    properties: dict[str, Any] = {"kind": {"const": cls.kind}} if issubclass(cls, Part) else {}
    for field in dataclasses.fields(cls):
        one, default = _schema_of(hints[field.name], definitions), default_of(field)
        one |= {"description": meanings[field.name]} if field.name in meanings else {}
        properties[field.name] = one if default is dataclasses.MISSING else {**one, "default": to_data(default)}
    definitions[name] = {
        "type": "object", "description": about(cls), "properties": properties, "additionalProperties": False,
    }  # fmt: skip
    return name
