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
from transduce.runs.weights import best_weights, load_weights, read_weights
from transduce.training.session import Session

TABLE = 10  # examples shown at the end


def finish(session: Session, position: Position) -> None:
    """Try the average, measure the best model on the test split, and write result.json: then a run is complete."""
    task, run, config = session.task, session.run, session.task.recipe.train
    run.require_in_place()
    result: dict[str, Any] = {"step": position.step, "stale": position.stale, "metric": task.metric}
    score, tried = try_average(session)
    if score is not None and (position.best_score is None or score > position.best_score):
        checkpoint.point(run.best, "checkpoints/averaged")
        session.say(f"the average of the checkpoints of {', '.join(map(str, tried))} is better: it is now the best")
    else:
        score = position.best_score
    result |= {"best": run.best.resolve().name, "score": score and score[0], "averaged": tried}
    checkpoint.require_intact(run.best.resolve())
    load_weights(task.model, best_weights(run.best.resolve()))
    name, split = ("test", task.test) if task.test is not None else ("valid", task.valid)
    if split is not None:
        session.display.say(f"measuring the best model on {name} ...")
        found = task.measure(split, task.recipe.generate, None)
        result[name] = {"loss": found.loss, "bleu": found.bleu, "exact": found.exact, "signature": found.signature}
        session.display.samples(found.samples[:TABLE], task.model.takes_source)
        session.say(f"{name}: {found.told(signed=True)}")
    session.report.plot(force=True)
    run.require_in_place()
    replace_text(run.path / "result.json", json.dumps(result, indent=1) + "\n")
    steps = f"{position.step} of {config.max_steps} steps"
    if position.step > config.max_steps:
        steps = f"{position.step} steps, more than train.max_steps={config.max_steps} since that was lowered"
    session.say(f"done: {steps}, all in {run.path}")


def try_average(session: Session) -> tuple[tuple[float, float] | None, list[int]]:
    """Write checkpoints/averaged and validate it. Returns its score and the steps it is made of, if there are two."""
    task, run, most = session.task, session.run, session.task.recipe.train.average
    steps = last_regular(run.checkpoints, most, session.say) if most > 1 and task.valid is not None else []
    if len(steps) < 2 or task.valid is None:
        return None, []
    averaged = mean(task.model, [best_weights(run.checkpoints / checkpoint.name(step)) for step in steps])
    checkpoint.write(run.checkpoints / "averaged", {"model.safetensors": averaged}, {"steps": steps, "healthy": True})
    load_weights(task.model, run.checkpoints / "averaged" / "model.safetensors")
    found = task.validate(task.valid)
    session.say(f"average of steps {', '.join(map(str, steps))}: {found.told()}")
    return found.score(task.metric), steps


def last_regular(checkpoints: Path, most: int, say: Callable[[str], None]) -> list[int]:
    """Returns the steps of the last intact checkpoints that were saved on schedule, in order. `say` hears of others."""
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
