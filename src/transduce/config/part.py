"""A part of a config: one of several kinds that live in a folder, one file each, which is walked to find them."""

import dataclasses
import functools
import importlib
import importlib.metadata
import pkgutil
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from transduce.errors import UserError


class UnknownKind(UserError):
    """A kind that is not installed here. key: `FOLDER.KIND`."""

    key: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A config of one of several kinds. `folder`: the package or module walked for them; `kind`: the name in YAML."""

    folder: ClassVar[str]
    kind: ClassVar[str]


@functools.cache
def kinds(folder: str) -> dict[str, type[Part]]:
    """Returns every kind in a package (one or more per file) and in the entry points of other packages, by name."""
    package = importlib.import_module(folder)
    files = pkgutil.iter_modules(getattr(package, "__path__", ()))
    modules = [package, *(importlib.import_module(f"{folder}.{file.name}") for file in files)]
    classes = [value for module in modules for value in vars(module).values()]
    for entry in importlib.metadata.entry_points(group=folder):
        classes += _contents(entry)
    by_name: dict[str, type[Part]] = {}
    for value in classes:
        if isinstance(value, type) and issubclass(value, Part) and "kind" in vars(value) and value.folder == folder:
            first = by_name.setdefault(value.kind, value)
            if first is not value:
                where = " and ".join(f"{c.__module__}.{c.__qualname__}" for c in (first, value))
                raise UserError(f"kind `{value.kind}` of {folder} is defined twice, by {where}; rename one")
    return dict(sorted(by_name.items()))


def _contents(entry: importlib.metadata.EntryPoint) -> list[Any]:
    """Returns the class that an entry point names, or everything in its module."""
    try:
        value = entry.load()
    except Exception as error:
        owner = entry.dist.name if entry.dist else "some package"
        raise UserError(
            f"{owner} adds `{entry.name}` to {entry.group}, but {entry.value} cannot be loaded ({error}); repair or "
            f"uninstall that package"
        ) from error
    return list(vars(value).values()) if isinstance(value, types.ModuleType) else [value]


@functools.cache
def packages(folder: str) -> dict[str, str]:
    """Returns the package that each kind of a folder comes from, by the kind; those of transduce are left out."""
    classes = [(e.dist.name, x) for e in importlib.metadata.entry_points(group=folder) if e.dist for x in _contents(e)]
    own = kinds(folder)
    return {x.kind: name for name, x in classes if isinstance(x, type) and x in own.values()}


def owners(config: Any) -> dict[str, str]:
    """Returns the package of each part of a config that another package added, by `FOLDER.KIND`."""
    if isinstance(config, Mapping):
        inner = [*typing.cast("Mapping[str, Any]", config).values()]
    elif isinstance(config, list | tuple):
        inner = [*typing.cast("list[Any]", config)]
    elif dataclasses.is_dataclass(config):
        inner = [getattr(config, field.name) for field in dataclasses.fields(config)]
    else:
        return {}
    out = {key: name for one in inner for key, name in owners(one).items()}
    if isinstance(config, Part) and (package := packages(config.folder).get(config.kind)) is not None:
        out[f"{config.folder}.{config.kind}"] = package
    return out


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """Returns the default of a field, made anew where it has a factory; MISSING: it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
