"""Configs from plain data, with errors that name the nearest valid key."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from transduce.config.keys import nearest, unknown_key
from transduce.config.part import Part, UnknownKind, default_of, kinds
from transduce.config.writing import to_data
from transduce.errors import UserError
from transduce.plain_yaml import Scalar, TypedMapping, plain
from transduce.scalars import clipped, read_scalar, read_text, require_finite, shown

C = TypeVar("C")


def from_data(cls: type[C], data: Any, where: str = "") -> C:
    """Builds a config from plain data (what YAML or JSON gives). Missing keys take the defaults.

    Raises UserError, naming the dotted key, for an unknown key, a wrong type, or a value the config refuses.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"`{where or 'the configuration'}` is {shown(data)}; it must be a mapping of keys to values")
    data = typing.cast("Mapping[Any, Any]", data)
    written_out = getattr(cls, "written_out", None)  # a class may have shorthands
    data = data if written_out is None else written_out(data)
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for key, value in data.items():
        path = clipped(f"{where}.{key}" if where else str(key))
        if key == "kind" and issubclass(cls, Part):
            continue
        if key not in fields:
            raise UserError(unknown_key(str(key), path, where, cls, data))
        values[key] = convert(hints[key], value, path, default_of(fields[key]))
    missing = [n for n, f in fields.items() if n not in values and default_of(f) is dataclasses.MISSING]
    if missing:
        raise UserError(f"`{where + '.' if where else ''}{missing[0]}` is required and has no default; give it a value")
    try:
        return cls(**values)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"`{where}`: {error}" if where else str(error)) from None


def convert(hint: Any, value: Any, path: str, default: Any = dataclasses.MISSING) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(args, value, path, default)
    if origin is typing.Literal:
        text: Any = getattr(value, "text", value)
        for word in (text, getattr(value, "value", value)):  # as written, or what YAML reads: false, 3
            if match := [one for one in args if type(one) is type(word) and one == word]:
                return match[0]
        guess = nearest(str(text), [str(a) for a in args]) if isinstance(text, str) else None
        hint_text = f"; did you mean `{guess}`?" if guess else ""
        raise UserError(f"`{path}` is {shown(value)}, but must be one of {', '.join(map(str, args))}{hint_text}")
    if origin is tuple:
        if (
            args[0] is str
            and isinstance(value, str | Scalar | TypedMapping | int | float)
            and value != Scalar("", None)
        ):
            value = [value]
        if not isinstance(value, list | tuple):
            raise UserError(f"`{path}` is {shown(value)}; it must be a list, such as [a, b]; [] is an empty one")
        return tuple(convert(args[0], v, f"{path}[{i}]") for i, v in enumerate(typing.cast("list[Any]", value)))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"`{path}` is {shown(value)}; it must be a mapping")
        return {str(k): convert(args[1], v, f"{path}.{k}") for k, v in typing.cast("dict[Any, Any]", value).items()}
    if isinstance(hint, type) and issubclass(hint, Part):
        return _part(hint, value, path, default)
    if dataclasses.is_dataclass(typing.cast("Any", hint)):
        ready = isinstance(value, typing.cast("type[Any]", hint))
        return _finite(value, path) if ready else from_data(typing.cast("Any", hint), value, path)
    return read_scalar(hint, value, path)


def _union(args: tuple[Any, ...], value: Any, path: str, default: Any) -> Any:
    """Returns a value as the first type that takes it; where text is one of them, only plain numbers are none."""
    options = [a for a in args if a is not type(None)]
    empty = value == Scalar("", None)  # `train.clip=`: more often a variable of the shell that is not set than a wish
    if len(options) < len(args) and plain(value) is None and not empty:
        return None
    if str in options and isinstance(value, str | Scalar | float):
        return read_text(value, path)
    if empty:
        raise UserError(f"`{path}` has no value; write {path}=null for none")
    errors: list[UserError] = []
    for option in options:
        try:
            return convert(option, value, path, default)
        except UserError as error:
            errors.append(error)
    mappings = [i for i, option in enumerate(options) if typing.get_origin(option) is dict]
    if isinstance(value, Mapping) and mappings:
        raise errors[mappings[0]]
    raise errors[-1 if isinstance(value, list | Mapping) else 0]


def _part(hint: type[Part], value: Any, path: str, default: Any) -> Any:
    if isinstance(value, hint):
        return _finite(value, path)
    value = {"kind": value} if isinstance(value, str | Scalar) else value
    if not isinstance(value, Mapping):
        raise UserError(f"`{path}` is {shown(value)}; give a kind, or a mapping with `kind`")
    data = typing.cast("Mapping[str, Any]", value)
    choices = kinds(hint.folder)
    fallback = type(default).kind if isinstance(default, Part) else None
    kind = data.get("kind", fallback)
    kind = kind.text if isinstance(kind, Scalar) else kind
    if not isinstance(kind, str) or kind not in choices:
        guess = nearest(kind, list(choices)) if isinstance(kind, str) else None
        suffix = f"; did you mean `{guess}`?" if guess else ""
        unknown = UnknownKind(f"`{path}.kind` is {shown(kind)}, but must be one of {', '.join(choices)}{suffix}")
        unknown.key = f"{hint.folder}.{kind}"
        raise unknown
    if isinstance(default, Part) and kind == fallback:  # keys left out keep what the enclosing default chose
        data = {**to_data(default), **data}
    return from_data(choices[kind], data, path)


def _finite(config: C, path: str) -> C:
    """Returns a config that was made in Python. Raises UserError where a number in it is not finite."""
    for name, value in _numbers(to_data(config), path):
        require_finite(value, name)
    return config


def _numbers(data: Any, path: str) -> Iterator[tuple[str, float]]:
    """Yields every number in plain data that is not whole, and its dotted key."""
    if isinstance(data, float):
        yield path, data
    elif isinstance(data, dict):
        for key, value in typing.cast("dict[str, Any]", data).items():
            yield from _numbers(value, f"{path}.{key}")
    elif isinstance(data, list):
        for i, value in enumerate(typing.cast("list[Any]", data)):
            yield from _numbers(value, f"{path}[{i}]")
