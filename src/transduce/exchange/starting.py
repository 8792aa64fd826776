"""A recipe that starts from another model: its model and tokeniser are those of the other one."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from transduce import config
from transduce.errors import UserError
from transduce.exchange import start
from transduce.plain_yaml import plain
from transduce.runs import assumed
from transduce.runs.run import read_config
from transduce.runs.start import SCRATCH, Start

CONFIG = "config.yaml"
OF_KIND = ("objective", "batch", "optimizer", "generate")  # sections that suit a kind of model; the task is laid on


def of_run(spec: str, changes: list[tuple[str, Any]]) -> tuple[str, list[tuple[str, Any]]]:
    """Returns a recipe and its changes, where a run stands for its own recipe, to be trained further under another
    name.
    """
    path = Path(spec)
    if not (path / CONFIG).is_file() or not (path / "checkpoints").is_dir():
        return spec, changes
    named = any(key == "name" for key, _ in changes)
    own = [("start", str(path)), *([] if named else [("name", f"{path.resolve().name}-tuned")])]
    return str(path / CONFIG), [*own, *changes]


def complete(
    data: dict[str, Any], changes: Iterable[tuple[str, Any]], out: Path | None
) -> tuple[dict[str, Any], Start | None]:
    """Returns plain data of a recipe with the model and tokeniser that it starts from, and what it starts from.

    The head stays that of the recipe, and `changes` of the model are laid on. out: the directory of runs; a run that
    has begun there has all it needs. Raises UserError.
    """
    data, where = with_task(data), plain(data.get("start", SCRATCH))
    if where in (None, SCRATCH):
        return data, None
    if odd := next((key for key, _ in changes if key.split(".")[0] == "tokenizer"), None):
        raise UserError(f"{odd} is asked for, but start={where} brings its own tokeniser; leave it out")
    run = None if out is None else out / str(plain(data.get("name")))
    if run is not None and (run / CONFIG).is_file() and any((run / "checkpoints").glob("step-*")):
        old = read_config(run)
        if old.get("start") == where:
            if goes_on(data, assumed.kind(old, "model"), changes):
                data = with_sections(data, old, changes)
            return laid_on(data, old["model"], old["tokenizer"], changes), None
    begin = start.open_start(str(where))
    require_same(data.get("tune"), begin)
    own, there = cast("Mapping[str, Any]", data.get("model") or {}), begin.recipe.model
    if assumed.kind(data, "task") == begin.recipe.task.kind and goes_on(data, there.kind, changes):
        data = with_sections(data, config.to_data(begin.recipe), changes)
    elif own.get("kind") != there.kind:
        there = there.body()
    model, tokenizer = config.to_data(there), config.to_data(begin.recipe.tokenizer)
    return laid_on(data, model, tokenizer, changes), begin


def require_same(tune: Any, begin: Start) -> None:
    """Raises UserError where what stands beside the weights of a start would have no place. tune: of the recipe."""
    there = begin.recipe.tune
    if not there.not_merged:
        return
    tune = plain(tune)
    own: dict[str, Any] = {"kind": tune} if isinstance(tune, str) else dict(tune or {})
    if own.get("kind") != there.kind or config.from_data(type(there), own) != there:
        keys = " ".join(f"tune.{key}={value}" for key, value in config.to_data(there).items())
        what = f"start={begin.where} was trained with tune={there.kind}, which is no part of its model's weights"
        raise UserError(f"{what}; set {keys}, or start from {begin.recipe.start}, from which it was tuned")


def with_task(data: dict[str, Any]) -> dict[str, Any]:
    """Returns plain data of a recipe with the keys of its task that follow from the kind of its model."""
    task, section = assumed.task(data), data.get("task")
    if task is None or not isinstance(section, Mapping):
        return data
    return {**data, "task": task.completed(cast("Mapping[str, Any]", section), assumed.kind(data, "model"))}


def goes_on(data: Mapping[str, Any], kind: str, changes: Iterable[tuple[str, Any]]) -> bool:
    """Says whether a training goes on with a model of that kind, in the place of the recipe's, which nobody chose."""
    task, chosen = assumed.task(data), any(key in ("model", "model.kind") for key, _ in changes)
    return not chosen and task is not None and task.goes_on(assumed.kind(data, "model"), kind)


def with_sections(
    data: dict[str, Any], sections: Mapping[str, Any], changes: Iterable[tuple[str, Any]]
) -> dict[str, Any]:  # fmt: skip
    """Returns a recipe's plain data with the sections that belong to the kind of the model that it starts from, and the
    changes of these.
    """
    out = {**data, **{name: sections[name] for name in OF_KIND}}
    out["task"] = {**cast("Mapping[str, Any]", sections["task"]), **cast("Mapping[str, Any]", data.get("task") or {})}
    out["model"] = {"kind": sections["model"]["kind"]}  # its head, too, is that of the start
    for key, value in changes:
        if key.split(".")[0] in OF_KIND:
            config.override(out, key, value)
    return out


def laid_on(
    data: dict[str, Any], model: dict[str, Any], tokenizer: Any, changes: Iterable[tuple[str, Any]]
) -> dict[str, Any]:  # fmt: skip
    """Returns a recipe's plain data with the model and tokeniser of its start, its own heads, and the changes of the
    model.
    """
    out, own = {**data, "model": dict(model), "tokenizer": tokenizer}, data.get("model")
    if isinstance(own, Mapping):
        own = cast("Mapping[str, Any]", own)
        out["model"] |= {"head": own["head"]} if "head" in own else {}
        heads = own.get("heads")  # a text where a change gives them, which is laid on below
        out["model"] |= {"heads": {**(model.get("heads") or {}), **heads}} if isinstance(heads, Mapping) else {}
    for key, value in changes:
        if key.split(".")[0] == "model":
            config.override(out, key, value)
    return out
