"""What follows from the rest of a recipe where it is not said: the task from the data, the objective from the task."""

from collections.abc import Mapping
from typing import Any, cast

from transduce.config import Part, kinds
from transduce.data.source import DataConfig
from transduce.plain_yaml import plain
from transduce.tasks.task import TaskConfig


def kind(data: Mapping[str, Any], part: str) -> str:
    """The kind of a part of a recipe, however it is written; "" where it is not said."""
    value = data.get(part)
    value = cast("Mapping[str, Any]", value).get("kind", "") if isinstance(value, Mapping) else value
    return "" if value is None else str(plain(value))


def named(folder: str, kind: str) -> type[Part] | None:
    return kinds(folder).get(kind)


def task(data: Mapping[str, Any]) -> type[TaskConfig] | None:
    """The task of a recipe's plain data; None: neither it nor its data are known."""
    source = named(DataConfig.folder, kind(data, "data"))
    usual = source.task if source is not None and issubclass(source, DataConfig) else ""
    found = named(TaskConfig.folder, kind(data, "task") or usual)
    return found if found is not None and issubclass(found, TaskConfig) else None


def complete(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns plain data of a recipe with a task, an objective and, where no text is read, no tokeniser."""
    out = dict(data)
    known = task(out)
    if known is not None and not kind(out, "task"):
        out["task"] = {"kind": known.kind, **cast("Mapping[str, Any]", out.get("task") or {})}
    if known is not None and not kind(out, "objective"):
        options = cast("Mapping[str, Any]", out.get("objective") or {})
        out["objective"] = {"kind": known.objective(kind(out, "model")), **options}
    if known is not None and not known.reads_text:
        out.setdefault("tokenizer", None)
    return out


def shape(data: Mapping[str, Any]) -> str:
    """The kind of model that the name of an architecture stands for in a recipe."""
    known = task(data)
    return "decoder" if known is None else known.shape
