"""The end of a training: the average of the last checkpoints, the test split, the result."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transduce.disk import replace_text
from transduce.runs import checkpoint
from transduce.runs.position import Position
from transduce.runs.report import draw_grid
from transduce.runs.weights import best_weights, load_weights, read_weights
from transduce.training.calibrate import calibrate
from transduce.training.session import Session

TABLE = 10  # examples shown at the end


def finish(session: Session, position: Position) -> None:
    """Tries the average, measures the best model on the test split, and writes result.json: then a run is complete."""
    job, run, config = session.job, session.run, session.job.recipe.train
    run.require_in_place()
    result: dict[str, Any] = {"step": position.step, "stale": position.stale, "metric": job.measure.kind}
    score, tried = try_average(session)
    if score is not None and (position.best_score is None or score > position.best_score):
        checkpoint.point(run.best, "checkpoints/averaged")
        session.say(f"the average of the checkpoints of {', '.join(map(str, tried))} is better: it is now the best")
    else:
        score = position.best_score
    result |= {"best": run.best.resolve().name, "score": score and score[0], "averaged": tried}
    checkpoint.require_intact(run.best.resolve())
    load_weights(job.model, best_weights(run.best.resolve()))
    result |= calibrate(session)
    job = session.job
    name, split = ("test", job.test) if job.test is not None else ("valid", job.valid)
    if split is not None:
        session.display.say(f"measuring the best model on {name} ...")
        evaluation = job.test_on(split)
        result[name] = evaluation.as_data()
        session.display.samples(evaluation.samples[:TABLE], job.recipe.task.tabular)
        if evaluation.grid is not None:
            session.display.grid(evaluation.grid)
            draw_grid(evaluation.grid, run.path / "plots" / "confusion.png", f"{run.path.name}: {name}")
        session.say(f"{name}: {evaluation.line(signed=True)}")
        if (verdict := evaluation.verdict) is not None:
            session.say(verdict)
    session.report.plot(force=True)
    run.require_in_place()
    replace_text(run.path / "result.json", json.dumps(result, indent=1) + "\n")
    steps = f"{position.step} of {config.max_steps} steps"
    if position.step > config.max_steps:
        steps = f"{position.step} steps, more than train.max_steps={config.max_steps} since that was lowered"
    elif config.patience is not None and position.stale >= config.patience and position.step < config.max_steps:
        steps += f", as the last {position.stale} validations were no better (train.patience={config.patience})"
    session.say(f"done: {steps}, all in {run.path}")


def try_average(session: Session) -> tuple[tuple[float, float] | None, list[int]]:
    """Writes checkpoints/averaged and validates it. Returns its score and its steps, if there are two or more."""
    job, run, most = session.job, session.run, session.job.recipe.train.average
    steps = last_regular(run.checkpoints, most, session.say) if most > 1 and job.valid is not None else []
    if len(steps) < 2 or job.valid is None:
        return None, []
    averaged = mean(job.model, [best_weights(run.checkpoints / checkpoint.name(step)) for step in steps])
    moving = {name: tensor for name, tensor in averaged.items() if name not in session.moving.fixed}
    state = {"steps": steps, "healthy": True, **session.beside}
    checkpoint.write(run.checkpoints / "averaged", {"model.safetensors": moving}, state)
    load_weights(job.model, run.checkpoints / "averaged" / "model.safetensors")
    evaluation = job.validate(job.valid)
    session.say(f"average of steps {', '.join(map(str, steps))}: {evaluation.line()}")
    return evaluation.score(job.measure), steps


def last_regular(checkpoints: Path, most: int, say: Callable[[str], None]) -> list[int]:
    """Returns the steps of the last intact checkpoints that were saved on schedule, in order. `say` names the rest."""
    steps: list[int] = []
    for step in reversed(checkpoint.steps(checkpoints)):
        path = checkpoints / checkpoint.name(step)
        if (problem := checkpoint.fault(path)) is not None:
            say(f"checkpoint {path.name} is damaged: {problem}; it is left out of the average")
        elif len(steps) < most and checkpoint.read_state(path).get("regular"):
            steps.insert(0, step)
    return steps


def mean(model: nn.Module, files: Sequence[Path]) -> dict[str, Tensor]:
    """Returns the mean of every tensor over several files, summed in float64."""
    total: dict[str, Tensor] = {}
    for file in files:
        for name, tensor in read_weights(model, file).items():
            total[name] = total.get(name, torch.zeros((), dtype=torch.float64)) + tensor.double()
    dtypes = {name: tensor.dtype for name, tensor in read_weights(model, files[0]).items()}
    return {name: (tensor / len(files)).to(dtypes[name]) for name, tensor in total.items()}
