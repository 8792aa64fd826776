"""A summary of a run from its files alone, whatever state they are in. Imports no torch."""

import difflib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from transduce.disk import mismatch, read_json
from transduce.errors import UserError
from transduce.plain_yaml import plain, read_file
from transduce.runs.integrity import parameters, quick_fault, read_state, steps
from transduce.runs.lock import LOCK, owner
from transduce.runs.report import read_lines, read_metrics
from transduce.runs.seal import HASHES

MARKS = (LOCK, HASHES, "checkpoints", "metrics.jsonl")  # beside config.yaml, one of which every run has
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?= )", re.MULTILINE)
SORTS = ("when", "name", "loss", "parameters", "minutes")


@dataclass(frozen=True)
class Summary:
    """A run in a line.

    state: being written (by a live process), finished, stopped, imported (no training yet), or damaged.
    problem: what is damaged (None: nothing that shows in names and lengths of files).
    step: updates done; of a run that stopped, those it goes on from.
    max_steps: updates asked for (None: not known).
    parameters: numbers in the weights (None: no checkpoint).
    metric: what chooses the best checkpoint (None: nothing was measured).
    score: the value of that metric for the best checkpoint.
    valid_loss: of the best checkpoint on the validation split, in nats per token.
    minutes: of training, stops left out.
    changed: the hour of the last line of its log.
    """

    name: str
    path: str
    state: Literal["being written", "finished", "stopped", "imported", "damaged"]
    problem: str | None
    step: int
    max_steps: int | None
    parameters: int | None
    metric: str | None
    score: float | None
    valid_loss: float | None
    minutes: float | None
    changed: str


def is_run(path: Path) -> bool:
    """Says whether a directory is a run: it has a recipe, and something that a training or an import left there."""
    return (path / "config.yaml").is_file() and any((path / name).exists() for name in MARKS)


def require_run(path: Path) -> None:
    """Raises UserError unless a path is the directory of a run, and names the nearest one beside it."""
    if is_run(path):
        return
    if not path.exists():
        beside = {str(run.name): run for run in runs_in(path.parent)} if path.parent.is_dir() else {}
        close = difflib.get_close_matches(path.name, list(beside), n=1)
        here = {run.name: run for run in runs_in(Path("runs"))} if Path("runs").is_dir() else {}
        guess = beside[close[0]] if close else here.get(path.name)
        way = f"did you mean {guess}?" if guess else "`transduce runs ls` lists the runs in runs/"
        raise UserError(f"there is no run {path}; {way}")
    what = "has no config.yaml" if path.is_dir() else "is a file"
    raise UserError(f"{path} is not a run: it {what}; `transduce runs ls DIR` lists the runs in a directory")


def runs_in(folder: Path) -> list[Path]:
    """Returns the runs in a directory, by name. What is not a run, and what is hidden, is left out."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and is_run(path)]


def summaries(folder: Path, sort: str = "when") -> list[Summary]:
    """Returns the runs in a directory, the last one changed last, or in another order of `SORTS`.

    Raises UserError where that is not a directory, or is a run itself.
    """
    if sort not in SORTS:
        raise UserError(f"--sort {sort} is not an order; use {', '.join(SORTS)}")
    if not folder.is_dir():
        raise UserError(f"there is no directory {folder}; `transduce train` makes a run in runs/")
    if is_run(folder):
        raise UserError(f"{folder} is a run itself; see it with `transduce runs show {folder}`")
    runs = [summary(path) for path in runs_in(folder)]
    key = {"when": "changed", "loss": "valid_loss"}.get(sort, sort)
    return sorted(runs, key=lambda one: (getattr(one, key) is None, getattr(one, key) or 0, one.name))


def summary(path: Path) -> Summary:
    """Returns what the files of a run say. Never raises, however damaged they are."""
    problem, config = readable_config(path)
    train = config.get("train")
    max_steps = cast("dict[str, Any]", train).get("max_steps") if isinstance(train, dict) else None
    writer, metrics = owner(path), read_metrics(path)
    result, spoilt = readable_result(path)
    saved = steps(path / "checkpoints") if (path / "checkpoints").is_dir() else []
    state = read_state(path / "last")
    step = integer(state.get("step")) or 0
    if writer is not None:
        step = max([step, *(integer(line.get("step")) or 0 for line in metrics[-2:])])
    imported = not metrics and kind_of(config.get("data")) == "imported"
    problem = problem or spoilt or weights_problem(path, bool(saved), result is not None or not metrics)
    kind = "imported" if imported else "stopped" if result is None else "finished"
    metric, score, best = best_value(config, metrics, state, result or {})
    return Summary(
        name=path.name,
        path=str(path),
        state="being written" if writer is not None else "damaged" if problem is not None else kind,
        problem=None if writer is not None else problem,
        step=step if result is None else integer(result.get("step")) or step,
        max_steps=integer(max_steps),
        parameters=parameters(path / "best"),
        metric=metric,
        score=score,
        valid_loss=valid_loss(metrics, best),
        minutes=minutes(path),
        changed=last_change(path),
    )


def readable_config(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Returns what is wrong with config.yaml and the tokeniser, and what config.yaml holds."""
    try:
        config: Any = plain(read_file((path / "config.yaml").read_text(encoding="utf-8"), "config.yaml"))
    except (OSError, ValueError) as error:  # UserError and UnicodeDecodeError are ValueErrors
        return f"config.yaml cannot be read ({error})", {}
    if not isinstance(config, dict):
        return "config.yaml is not a recipe", {}
    config, problem = cast("dict[str, Any]", config), None
    if (path / HASHES).is_file():
        try:
            problem = mismatch(path, read_json(path / HASHES))
        except (UserError, OSError):
            problem = f"{HASHES} cannot be read"
    return problem, config


def readable_result(path: Path) -> tuple[dict[str, Any] | None, str | None]:
    """Returns what result.json holds (None: there is none), and what is wrong with it."""
    if not (path / "result.json").is_file():
        return None, None
    try:
        return read_json(path / "result.json"), None
    except UserError:
        return None, "result.json cannot be read"


def weights_problem(path: Path, some: bool, needless: bool) -> str | None:
    """Returns what is wrong with the best and the last checkpoint.

    some: there are checkpoints of steps.
    needless: a run that is finished or has not begun may have none.
    """
    if not some:
        return None if needless else "no checkpoint is left"
    for name in ("last", "best"):
        if not (path / name).is_dir():
            return f"`{name}` leads to no checkpoint"
        if (problem := quick_fault(path / name)) is not None:
            return f"checkpoint {name}: {problem}"
    return None


def best_value(
    config: Mapping[str, Any], metrics: list[dict[str, Any]], state: Mapping[str, Any], result: Mapping[str, Any]
) -> tuple[str | None, float | None, int | None]:
    """Returns the metric that chooses the best checkpoint, its value, and the step of that checkpoint.

    A score is larger where it is better, so that of a loss is its negative; the value is as people read it.
    """
    pair: Any = state.get("best_score")
    score = number(pair[0]) if isinstance(pair, list) and pair else None
    best = integer(state.get("best_step"))
    metric: Any = result.get("metric")
    if number(result.get("score")) is not None:
        score = number(result.get("score"))
    if score is None:
        return None, None, best
    lines = [line for line in metrics if line.get("step") == best and "val_loss" in line]
    if not isinstance(metric, str):  # a run says it at its end; before, the value tells which one it is
        same = (
            key
            for line in lines[-1:]
            for key, value in line.items()
            if key != "step" and number(value) in (score, -score)
        )
        metric = next(same, None)
        metric = "loss" if metric in (None, "val_loss") else metric
    return metric, abs(score) if metric == "loss" else score, best


def valid_loss(metrics: list[dict[str, Any]], best: int | None) -> float | None:
    """Returns the loss on the validation split at the best step, else the last one."""
    losses = {line["step"]: value for line in metrics if (value := number(line.get("val_loss"))) is not None}
    return losses.get(best, list(losses.values())[-1]) if losses else None


def minutes(path: Path) -> float | None:
    """Returns how long a run was trained. Each process counts its seconds from 0, so a drop begins a new one."""
    total, before = 0.0, 0.0
    lines = read_lines(path / "timings.jsonl")
    for line in lines:
        seconds = number(line.get("seconds")) or 0.0
        total, before = total + (seconds - before if seconds >= before else seconds), seconds
    return total / 60 if lines else None


def last_change(path: Path) -> str:
    """Returns the hour of the last line of the log, which a copy keeps; without a log, that of the newest file."""
    log = path / "log.txt"
    if log.is_file() and (stamps := STAMP.findall(tail(log))):
        return stamps[-1]
    newest = max((file.lstat().st_mtime for file in path.iterdir()), default=0.0)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(newest))


def tail(file: Path) -> str:
    """Returns the end of a text file; nothing where it cannot be read."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - 65_536))
            return opened.read().decode(errors="replace")
    except OSError:
        return ""


def kind_of(part: Any) -> str | None:
    """Returns the kind of a part of a recipe, however it is written."""
    return str(cast("dict[str, Any]", part).get("kind")) if isinstance(part, dict) else part


def integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
