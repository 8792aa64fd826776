"""Who watches a training is told of everything, changes nothing, and may end it without losing anything."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce.runs import checkpoint
from transduce.runs.run import Run

SMALL = {
    "data.train_size": 200, "data.valid_size": 8, "data.test_size": 8, "model.width": 16, "model.layers": 1,
    "model.mixer.heads": 2, "model.feedforward.hidden": 32, "batch.batch_tokens": 256, "train.max_steps": 7,
    "train.validate_every": 3, "train.log_every": 1, "train.samples": 4, "schedule.warmup_steps": 2,
    "train.threads": 1, "train.precision": "fp32", "model.residual.dropout": 0.3,
}  # fmt: skip


def trained(out: Path, watch: Any = None) -> Run:
    return td.train("dates", SMALL, out=out, quiet=True, watch=watch)


def bits(run: Run) -> list[Any]:
    """Everything that must be the same."""
    tensors = [checkpoint.read_tensors(run.last / f"{name}.safetensors") for name in ("model", "optimizer")]
    samples = [path.read_text() for path in sorted((run.path / "samples").iterdir())]
    return [[(name, t.numpy().tobytes()) for name, t in sorted(one.items())] for one in tensors] + [
        (run.path / "metrics.jsonl").read_bytes(), run.result, samples,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("alone"))


def test_a_watcher_that_draws_changes_no_bit_and_hears_of_everything(alone: Run, tmp_path: Path) -> None:
    events: list[Any] = []

    def watch(event: Any) -> None:
        torch.rand(13)
        torch.manual_seed(len(events))
        events.append(event)

    run = trained(tmp_path, watch)
    assert bits(run) == bits(alone)

    updates = [event for event in events if isinstance(event, td.Update)]
    validations = [event for event in events if isinstance(event, td.Validation)]
    assert len(updates) + len(validations) == len(events)
    lines = [line for line in run.metrics if "loss" in line]
    told = [(u.step, u.loss, u.learning_rate, u.grad_norm, u.tokens) for u in updates]
    keys = ("step", "loss", "learning_rate", "grad_norm", "tokens")
    assert told == [tuple(line[key] for key in keys) for line in lines]
    assert [u.seconds for u in updates] == sorted(u.seconds for u in updates)
    assert [v.step for v in validations] == [3, 6, 7]
    assert [v.evaluation.loss for v in validations] == [line["val_loss"] for line in run.metrics if "val_loss" in line]
    assert validations[0].best
    assert [type(event).__name__ for event in events[2:5]] == ["Update", "Validation", "Update"]
    with pytest.raises(FrozenInstanceError):
        updates[0].step = 0


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), OSError(5, "mine"), td.UserError("mine"), MemoryError()])
@pytest.mark.parametrize("place", ["update", "validation"])
def test_an_exception_ends_the_training_when_all_is_saved(
    alone: Run, tmp_path: Path, error: Exception, place: str
) -> None:
    step = {"update": 5, "validation": 3}[place]

    def watch(event: Any) -> None:
        if event.step == step and isinstance(event, td.Validation if place == "validation" else td.Update):
            raise error

    with pytest.raises(type(error)) as raised:
        trained(tmp_path, watch)
    assert raised.value is error
    run = Run(tmp_path / "dates")
    assert json.loads((run.last / "state.json").read_text())["step"] == step
    assert run.result is None
    assert (
        f"step {step}: the function that watches failed ({type(error).__name__}" in (run.path / "log.txt").read_text()
    )
    assert bits(trained(tmp_path)) == bits(alone)


def test_after_a_failure_the_watcher_is_not_called_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def watch(event: Any) -> None:
        calls.append(event.step)
        raise ValueError("too large a number")  # which is no want of memory

    with pytest.raises(ValueError, match="too large a number"):
        trained(tmp_path, watch)
    assert calls == [1]
