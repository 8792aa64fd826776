"""Lists runs: a summary of each from its files alone, whatever state they are in. Imports no torch."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from transduce.errors import UserError
from transduce.runs.figures import (
    best_value,
    integer,
    kind_of,
    last_change,
    minutes,
    readable_config,
    readable_result,
    valid_loss,
    weights_problem,
)
from transduce.runs.integrity import parameters, read_state, steps
from transduce.runs.lock import LOCK, owner
from transduce.runs.report import read_metrics
from transduce.runs.seal import HASHES

MARKS = (LOCK, HASHES, "checkpoints", "metrics.jsonl")  # beside config.yaml, one of which every run has
SORTS = ("when", "name", "loss", "parameters", "minutes")


@dataclass(frozen=True)
class Summary:
    """A run in a line.

    state: being written (by a live process), finished, stopped, imported (no training yet), or damaged.
    problem: the damage (None: the names and lengths of files show none).
    step: updates done; a run that stopped goes on from there.
    max_steps: updates that its recipe asks for (None: unknown).
    parameters: numbers in the weights (None: no checkpoint).
    metric: the measure that chooses the best checkpoint (None: nothing was measured).
    score: the value of that measure for the best checkpoint.
    valid_loss: of the best checkpoint on the validation split, in nats per token.
    minutes: of training, without the time between a stop and the next start.
    changed: the date and time of the last line of its log.
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
    """Says whether a directory is a run: it has a recipe, and a file that a training or an import writes."""
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
    reason = "has no config.yaml" if path.is_dir() else "is a file"
    raise UserError(f"{path} is not a run: it {reason}; `transduce runs ls DIR` lists the runs in a directory")


def runs_in(folder: Path) -> list[Path]:
    """Returns the runs in a directory, by name. Hidden ones are left out."""
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
    """Returns the summary of a run from its files. Never raises, however damaged they are."""
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
