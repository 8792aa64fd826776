"""The figures and faults of a run, read from its files, whatever state they are in. Imports no torch.

Tested in tests/runs/test_listing.py.
"""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from transduce.disk import mismatch, read_json
from transduce.errors import UserError
from transduce.plain_yaml import plain, read_file
from transduce.runs.integrity import quick_fault
from transduce.runs.report import read_lines
from transduce.runs.seal import HASHES

STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?= )", re.MULTILINE)


def readable_config(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Returns the fault of config.yaml or of the tokeniser (None: no fault), and the contents of config.yaml."""
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
    """Returns the contents of result.json (None: it is missing or damaged), and its fault (None: no fault)."""
    if not (path / "result.json").is_file():
        return None, None
    try:
        return read_json(path / "result.json"), None
    except UserError:
        return None, "result.json cannot be read"


def weights_problem(path: Path, some: bool, needless: bool) -> str | None:
    """Returns the fault of the best or the last checkpoint (None: no fault).

    some: the run has checkpoints.
    needless: the run may have none, since it is finished or has not begun.
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

    A stored score is larger where it is better, so that of a loss is its negative; the value here is the loss itself.
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
    if not isinstance(metric, str):  # result.json names it; before that exists, the metric is the one with this value
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
    """Returns the minutes of training. Each process counts its seconds from 0, so a drop begins a new one."""
    total, before = 0.0, 0.0
    lines = read_lines(path / "timings.jsonl")
    for line in lines:
        seconds = number(line.get("seconds")) or 0.0
        total, before = total + (seconds - before if seconds >= before else seconds), seconds
    return total / 60 if lines else None


def last_change(path: Path) -> str:
    """Returns the date and time of the last line of the log, which a copy keeps, or else those of the newest file."""
    log = path / "log.txt"
    if log.is_file() and (stamps := STAMP.findall(tail(log))):
        return stamps[-1]
    newest = max((file.lstat().st_mtime for file in path.iterdir()), default=0.0)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(newest))


def tail(file: Path) -> str:
    """Returns the end of a text file, or "" where it cannot be read."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - 65_536))
            return opened.read().decode(errors="replace")
    except OSError:
        return ""


def kind_of(part: Any) -> str | None:
    """Returns the kind of a part of a recipe, which is written as a name, or as a mapping with a kind."""
    return str(cast("dict[str, Any]", part).get("kind")) if isinstance(part, dict) else part


def integer(value: Any) -> int | None:
    """Returns a value if it is an integer, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    """Returns a value if it is a number, else None."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
