"""The end of a training: what is averaged, what is chosen, and what is measured."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from transduce.runs import checkpoint
from transduce.runs.position import Position
from transduce.runs.recipe import Recipe
from transduce.runs.weights import weights
from transduce.tasks.evaluate import Evaluation
from transduce.training import loop
from transduce.training.finish import finish, last_regular, mean
from transduce.training.session import Job, Session

OVER = {"train.max_steps": 12, "train.validate_every": 3, "train.samples": 0, "train.keep": 4, "train.metric": "loss"}
Trained = Callable[..., tuple[Session, Position]]


def test_the_mean_is_taken_in_float64_and_keeps_types(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    files, rows = [tmp_path / str(i) for i in range(3)], torch.randn(3, 5, generator=draw) * 1e6 + 1
    for file, row in zip(files, rows, strict=True):
        checkpoint.save_tensors({"w": row, "h": row.half()}, file)
    found = mean(nn.Module(), files)
    assert torch.equal(found["w"], rows.double().mean(0).float())
    assert found["h"].dtype == torch.float16


def test_only_checkpoints_saved_on_schedule_are_averaged_the_last_ones_in_order(tmp_path: Path) -> None:
    for step in range(1, 9):
        state = {"step": step, "regular": step % 3 != 0, "healthy": True}
        checkpoint.write(tmp_path / checkpoint.name(step), {"model.safetensors": {"w": torch.ones(2)}}, state)
    (tmp_path / checkpoint.name(7) / "model.safetensors").unlink()
    messages = list[str]()
    assert last_regular(tmp_path, 3, messages.append) == [4, 5, 8]
    assert messages == [
        "checkpoint step-00000007 is damaged: model.safetensors is missing; it is left out of the average"
    ]


@pytest.fixture
def trained(recipe: Callable[..., Recipe], session: Callable[..., Session]) -> Trained:
    """trained(over) -> a session whose last update is done, and where it stands."""

    def run(over: dict[str, object]) -> tuple[Session, Position]:
        made = session(recipe(over={**OVER, **over}))
        return made, loop.train(made, lambda: False)

    return run


def stored(session: Session, step: int, file: str) -> dict[str, Tensor]:
    return checkpoint.read_tensors(session.run.checkpoints / checkpoint.name(step) / file)


@pytest.mark.parametrize("ema", [None, 0.5])
@pytest.mark.parametrize("last", [2, 3, 9])
def test_what_is_tried_is_the_mean_of_the_last_checkpoints(last: int, ema: float | None, trained: Trained) -> None:
    session, position = trained({"train.average": last, "train.ema": ema, "train.keep": 9})
    finish(session, position)
    steps = [3, 6, 9, 12][-last:]
    file = "model.safetensors" if ema is None else "ema.safetensors"
    parts = [stored(session, step, file) for step in steps]
    averaged = checkpoint.read_tensors(session.run.checkpoints / "averaged" / "model.safetensors")
    for name, tensor in averaged.items():
        expected = torch.stack([part[name].double() for part in parts]).mean(0).float()
        torch.testing.assert_close(tensor, expected, rtol=1e-7, atol=0)
        assert not torch.equal(parts[0][name], parts[-1][name]) or not tensor.is_floating_point()
    assert checkpoint.fault(session.run.checkpoints / "averaged") is None
    result = session.run.result
    assert result is not None
    assert result["averaged"] == steps


@pytest.mark.parametrize("better", [True, False, None])
def test_the_average_is_chosen_only_where_it_is_better(
    better: bool | None, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, position = trained({"train.average": 2})
    assert position.best_score is not None
    assert position.best_step is not None
    loss = -position.best_score[0] + {True: -0.25, False: 0.25, None: 0.0}[better]
    validated: list[dict[str, Tensor]] = []

    def validate(job: Job, _: object) -> Evaluation:
        validated.append({name: x.clone() for name, x in weights(job.model).items()})
        return Evaluation(loss, 5)

    monkeypatch.setattr(Job, "validate", validate)
    finish(session, position)
    averaged = checkpoint.read_tensors(session.run.checkpoints / "averaged" / "model.safetensors")
    assert len(validated) == 1
    assert all(torch.equal(x, averaged[name]) for name, x in validated[0].items())
    name = "averaged" if better else checkpoint.name(position.best_step)
    result = session.run.result
    assert result is not None
    assert (result["best"], session.run.best.resolve().name) == (name, name)
    assert result["score"] == pytest.approx(-loss if better else position.best_score[0], abs=0)
    used = checkpoint.read_tensors(session.run.checkpoints / name / "model.safetensors")
    assert all(torch.equal(x, used[key]) for key, x in weights(session.job.model).items())
    assert ("is better: it is now the best" in (session.run.path / "log.txt").read_text()) is bool(better)


def test_the_result_is_that_of_the_best_model_on_the_test_split(trained: Trained) -> None:
    session, position = trained({"train.average": 2, "optimizer.learning_rate": 0.3})
    position.best_step, position.best_score = 3, (0.0, 0.0)  # nothing is better than a loss of zero
    checkpoint.point(session.run.best, f"checkpoints/{checkpoint.name(3)}")
    finish(session, position)
    job = session.job
    assert job.test is not None
    from transduce.runs.weights import load_weights

    load_weights(job.model, session.run.checkpoints / checkpoint.name(3) / "model.safetensors")
    expected = job.test_on(job.test)
    result = json.loads((session.run.path / "result.json").read_text())
    assert result["test"]["loss"] == expected.loss
    assert result["test"]["exact"] == expected.values["exact"].value


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "DONE"])
def test_a_damaged_checkpoint_is_left_out_of_the_average_and_told(name: str, trained: Trained) -> None:
    session, position = trained({"train.average": 3})
    position.best_step, position.best_score = 12, (0.0, 0.0)
    checkpoint.point(session.run.best, f"checkpoints/{checkpoint.name(12)}")
    file = session.run.checkpoints / checkpoint.name(9) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    finish(session, position)
    result = session.run.result
    assert result is not None
    assert result["averaged"] == [3, 6, 12]
    assert "checkpoint step-00000009 is damaged" in (session.run.path / "log.txt").read_text()


def test_a_damaged_best_checkpoint_is_told_and_the_next_start_goes_on_without_it(
    recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    from transduce.errors import UserError
    from transduce.training.train import train

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transduce.training.train.finish", lambda *_: (_ for _ in ()).throw(UserError("stopped")))
        with pytest.raises(UserError, match="stopped"):
            train(recipe(over={**OVER, "optimizer.learning_rate": 0.5}), tmp_path, quiet=True)
    run = tmp_path / "tiny"
    state = checkpoint.read_state(run / "last")
    assert state["best_step"] < 12, "choose a rate that is too high"
    (run / "best" / "model.safetensors").write_bytes(b"")
    result = train(recipe(over={**OVER, "optimizer.learning_rate": 0.5}), tmp_path, quiet=True).result
    assert result is not None
    assert result["best"] == "step-00000012"
    assert "cannot be used: model.safetensors is not what was written" in (run / "log.txt").read_text()
