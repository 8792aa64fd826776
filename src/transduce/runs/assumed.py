"""Defaults that follow from the rest of a recipe: the task from the data, the objective from the task.

Tested in tests/test_config.py.
"""

from collections.abc import Mapping
from typing import Any, cast

from transduce.config import Part, kinds
from transduce.data.source import DataConfig
from transduce.plain_yaml import plain
from transduce.tasks.task import TaskConfig


def kind(data: Mapping[str, Any], part: str) -> str:
    """Returns the kind of a part of a recipe, as a string or in a mapping; "" where the recipe names none."""
    value = data.get(part)
    value = cast("Mapping[str, Any]", value).get("kind", "") if isinstance(value, Mapping) else value
    return "" if value is None else str(plain(value))


def class_of(folder: str, kind: str) -> type[Part] | None:
    return kinds(folder).get(kind)


def task(data: Mapping[str, Any]) -> type[TaskConfig] | None:
    """Returns the task of a recipe's plain data (None: neither it nor its data are known)."""
    source = class_of(DataConfig.folder, kind(data, "data"))
    one = data.get("data")
    section = cast("Mapping[str, Any]", one if isinstance(one, Mapping) else {})
    usual = source.task_of(section) if source is not None and issubclass(source, DataConfig) else ""
    cls = class_of(TaskConfig.folder, kind(data, "task") or usual)
    return cls if cls is not None and issubclass(cls, TaskConfig) else None


def complete(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns plain data of a recipe with a task, an objective and, where no text is read, no tokeniser."""
    out = dict(data)
    cls = task(out)
    if cls is not None and not kind(out, "task"):
        out["task"] = {"kind": cls.kind, **cast("Mapping[str, Any]", out.get("task") or {})}
    if cls is not None and not kind(out, "objective"):
        options = cast("Mapping[str, Any]", out.get("objective") or {})
        out["objective"] = {"kind": cls.objective(kind(out, "model")), **options}
    if cls is not None and not cls.reads_text:
        out.setdefault("tokenizer", None)
    return out


def shape(data: Mapping[str, Any]) -> str:
    """Returns the kind of model that the name of an architecture stands for in a recipe."""
    cls = task(data)
    return "decoder" if cls is None else cls.shape
