"""Frozen dataclasses from plain data and back, with errors that name the nearest valid key.

A config is a frozen, keyword-only dataclass whose fields are numbers, strings, booleans, tuples, other configs, or
`Part`s. A `Part` is one of several kinds that live in a folder, one file each: the folder is walked, so a new kind is
a new file and no list is edited. Other packages add kinds through the entry-point group named like the folder.
"""

import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
import pkgutil
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from transduce.errors import UserError
from transduce.plain_yaml import Scalar, TypedMapping, Word, plain, read_word
from transduce.scalars import clipped, read_scalar, read_text, require_finite, shown

C = TypeVar("C")
TEXTS = str | Scalar | TypedMapping | int | float  # what may stand for a list of one text

ALIASES = {
    "n_layer": "layers",
    "n_layers": "layers",
    "num_layers": "layers",
    "num_hidden_layers": "layers",
    "depth": "layers",
    "d_model": "width",
    "dim": "width",
    "hidden_size": "width",
    "n_embd": "width",
    "embed_dim": "width",
    "n_head": "heads",
    "n_heads": "heads",
    "num_heads": "heads",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "n_kv_heads": "kv_heads",
    "d_ff": "hidden",
    "ffn_dim": "hidden",
    "intermediate_size": "hidden",
    "lr": "learning_rate",
    "warmup": "warmup_steps",
    "num_warmup_steps": "warmup_steps",
    "batch_size": "batch_tokens",
    "max_tokens": "batch_tokens",
    "steps": "max_steps",
    "max_iters": "max_steps",
    "max_train_steps": "max_steps",
    "grad_clip": "clip",
    "max_grad_norm": "clip",
    "accumulation": "accumulate",
    "gradient_accumulation_steps": "accumulate",
    "num_beams": "beam_size",
    "beam": "beam_size",
    "wd": "weight_decay",
    "dtype": "precision",
    "bf16": "precision",
    "smoothing": "label_smoothing",
    "num_workers": "workers",
    "epochs": "max_epochs",
    "n_epochs": "max_epochs",
    "num_epochs": "max_epochs",
    "num_train_epochs": "max_epochs",
    "epoch": "max_epochs",
}  # fmt: skip  (what other toolkits call it: what we call it; used in error messages only)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A config of one of several kinds. `folder`: the package or module walked for them; `kind`: the name in YAML."""

    folder: ClassVar[str]
    kind: ClassVar[str]


@functools.cache
def kinds(folder: str) -> dict[str, type[Part]]:
    """Every kind found in a package (one or more per file) and in the entry points of other packages, by name."""
    package = importlib.import_module(folder)
    files = pkgutil.iter_modules(getattr(package, "__path__", ()))
    modules = [package, *(importlib.import_module(f"{folder}.{file.name}") for file in files)]
    classes = [value for module in modules for value in vars(module).values()]
    for entry in importlib.metadata.entry_points(group=folder):
        classes += _loaded(entry)
    found: dict[str, type[Part]] = {}
    for value in classes:
        if isinstance(value, type) and issubclass(value, Part) and "kind" in vars(value) and value.folder == folder:
            first = found.setdefault(value.kind, value)
            if first is not value:
                where = " and ".join(f"{c.__module__}.{c.__qualname__}" for c in (first, value))
                raise UserError(f"kind `{value.kind}` of {folder} is defined twice, by {where}; rename one")
    return dict(sorted(found.items()))


def _loaded(entry: importlib.metadata.EntryPoint) -> list[Any]:
    """The class an entry point names, or all of a module."""
    try:
        value = entry.load()
    except Exception as error:
        owner = entry.dist.name if entry.dist else "some package"
        raise UserError(
            f"{owner} adds `{entry.name}` to {entry.group}, but {entry.value} cannot be loaded ({error}); repair or "
            f"uninstall that package"
        ) from error
    return list(vars(value).values()) if isinstance(value, types.ModuleType) else [value]


def nearest(name: str, valid: list[str]) -> str | None:
    """The valid name a person most likely meant, or None."""
    if ALIASES.get(name) in valid:
        return ALIASES[name]
    if len(name) > 100:
        return None
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    return close[0] if close else None


def from_data(cls: type[C], data: Any, where: str = "") -> C:
    """Build a config from plain data (what YAML or JSON gives). Missing keys take the defaults.

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
        values[key] = _convert(hints[key], value, path, default_of(fields[key]))
    missing = [n for n, f in fields.items() if n not in values and default_of(f) is dataclasses.MISSING]
    if missing:
        raise UserError(f"`{where + '.' if where else ''}{missing[0]}` is required and has no default; give it a value")
    try:
        return cls(**values)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"`{where}`: {error}" if where else str(error)) from None


def unknown_key(key: str, path: str, where: str, cls: type, data: Mapping[Any, Any]) -> str:
    """The sentence for a key that does not exist: the same name below, else the nearest beside it, else below.

    data: what was given, so that no key of a kind that was not chosen is suggested. Of equal names below, that of
    `train` comes first, then the first one.
    """
    if key.removeprefix("train.").startswith("resume"):
        return f"there is no `{path}`, and it is not needed: the same command goes on where it was stopped"
    here = {f.name: f"{where + '.' if where else ''}{f.name}" for f in dataclasses.fields(cls)}
    paths = sorted((p for p, _ in keys(cls, where, data)), key=lambda p: not p.startswith("train."))
    below = {p.rsplit(".", 1)[-1]: p for p in reversed(paths)}
    known_elsewhere = {name: p for name, p in below.items() if name == ALIASES.get(key)}
    same = {key: below[key]} if key in below else {}
    for valid in (known_elsewhere, same, here, below):  # what other toolkits call it says more than how it is spelt
        if (guess := nearest(key, list(valid))) is not None:
            return f"unknown key `{path}`; did you mean `{valid[guess]}`?"
    return f"unknown key `{path}`; the keys here are {', '.join(here)}"


def keys(cls: type, where: str = "", data: Any = None) -> Iterator[tuple[str, Any]]:
    """Every dotted key of a config class and its type.

    Of each part, those of the kind that `data` chooses, else of the default kind, or of all if there is none.
    """
    given = typing.cast("Mapping[str, Any]", data if isinstance(data, Mapping) else {})
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        path = f"{where}.{field.name}" if where else field.name
        hint, default = hints[field.name], default_of(field)
        yield path, hint
        value: Any = given.get(field.name)
        kind = typing.cast("Mapping[str, Any]", value).get("kind") if isinstance(value, Mapping) else value
        parts = kinds(hint.folder) if isinstance(hint, type) and issubclass(hint, Part) else {}
        if isinstance(kind, str) and kind in parts:
            yield from keys(parts[kind], path, value)
        elif dataclasses.is_dataclass(default) and not isinstance(default, type):
            yield from keys(type(default), path, value)
        elif default is dataclasses.MISSING:
            for part in parts.values():
                yield from keys(part, path)


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """Returns the default of a field, made anew where it has a factory; MISSING: it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _convert(hint: Any, value: Any, path: str, default: Any = dataclasses.MISSING) -> Any:
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
        return tuple(_convert(args[0], v, f"{path}[{i}]") for i, v in enumerate(typing.cast("list[Any]", value)))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"`{path}` is {shown(value)}; it must be a mapping")
        return {str(k): _convert(args[1], v, f"{path}.{k}") for k, v in typing.cast("dict[Any, Any]", value).items()}
    if isinstance(hint, type) and issubclass(hint, Part):
        return _part(hint, value, path, default)
    if dataclasses.is_dataclass(typing.cast("Any", hint)):
        given = isinstance(value, typing.cast("type[Any]", hint))
        return _finite(value, path) if given else from_data(typing.cast("Any", hint), value, path)
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
            return _convert(option, value, path, default)
        except UserError as error:
            errors.append(error)
    raise errors[-1 if isinstance(value, list | Mapping) else 0]


def _part(hint: type[Part], value: Any, path: str, default: Any) -> Any:
    if isinstance(value, hint):
        return _finite(value, path)
    value = {"kind": value} if isinstance(value, str | Scalar) else value
    if not isinstance(value, Mapping):
        raise UserError(f"`{path}` is {shown(value)}; give a kind, or a mapping with `kind`")
    data = typing.cast("Mapping[str, Any]", value)
    known = kinds(hint.folder)
    fallback = type(default).kind if isinstance(default, Part) else None
    kind = data.get("kind", fallback)
    kind = kind.text if isinstance(kind, Scalar) else kind
    if not isinstance(kind, str) or kind not in known:
        guess = nearest(kind, list(known)) if isinstance(kind, str) else None
        suffix = f"; did you mean `{guess}`?" if guess else ""
        raise UserError(f"`{path}.kind` is {shown(kind)}, but must be one of {', '.join(known)}{suffix}")
    if isinstance(default, Part) and kind == fallback:  # keys left out keep what the enclosing default chose
        data = {**to_data(default), **data}
    return from_data(known[kind], data, path)


def _finite(config: C, path: str) -> C:
    """Returns a config that was made in Python. Raises UserError where a number in it is not finite."""
    for name, value in _numbers(to_data(config), path):
        require_finite(value, name)
    return config


def _numbers(data: Any, path: str) -> Iterator[tuple[str, float]]:
    """Every number in plain data that is not whole, and its dotted key."""
    if isinstance(data, float):
        yield path, data
    elif isinstance(data, dict):
        for key, value in typing.cast("dict[str, Any]", data).items():
            yield from _numbers(value, f"{path}.{key}")
    elif isinstance(data, list):
        for i, value in enumerate(typing.cast("list[Any]", data)):
            yield from _numbers(value, f"{path}[{i}]")


def to_data(config: Any) -> Any:
    """Plain data that `from_data` turns back into an equal config: dicts, lists, numbers, strings, None."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        data = {f.name: to_data(getattr(config, f.name)) for f in dataclasses.fields(config) if f.init}
        return {"kind": config.kind, **data} if isinstance(config, Part) else data
    if isinstance(config, list | tuple):
        return [to_data(v) for v in typing.cast("list[Any]", config)]
    if isinstance(config, dict):
        return {k: to_data(v) for k, v in typing.cast("dict[str, Any]", config).items()}
    return config


def override(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Set `data["a"]["b"] = value` for "a.b". A `Word` waits for the type of its field; other values are what they are.

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
    """`over` laid on `base`, mapping by mapping; where the kind of a part changes, the old part's keys go."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        if isinstance(value, Mapping) and isinstance(old, dict):
            new, old = typing.cast("Mapping[str, Any]", value), typing.cast("dict[str, Any]", old)
            out[key] = dict(new) if "kind" in new and new["kind"] != old.get("kind", new["kind"]) else merge(old, new)
        else:
            out[key] = value
    return out


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
