"""Numbers that are not finite: who began it is named, the batch is kept and left out, training goes on or stops."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.layout import right_padded
from transduce.model.models import Model
from transduce.objectives.language import NextTokenConfig, TranslationConfig
from transduce.objectives.objective import Loss, Objective
from transduce.runs import checkpoint
from transduce.runs.recipe import Recipe
from transduce.training import loop
from transduce.training.health import first_bad
from transduce.training.session import Session
from transduce.training.train import train


class Log(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.log()


def test_the_first_module_that_is_not_finite_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), Log()), nn.Linear(3, 1))
    assert first_bad(model, lambda: model(torch.ones(2, 3)).sum()) in (None, "the output of 1.1 (Log)")
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    assert first_bad(model, lambda: model(torch.ones(2, 3)).sum()) == "the output of 1.1 (Log)"
    assert all(p.grad is None for p in model.parameters())


def test_the_first_gradient_of_the_way_back_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    nn.init.zeros_(model[1].weight)
    assert first_bad(model, lambda: model(torch.ones(2, 3)).abs().sqrt().sum()) == "the gradient of 1.weight"


def test_weights_and_losses_are_looked_at_and_health_is_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    assert first_bad(model, lambda: model(torch.ones(1, 2)).sum()) is None
    assert first_bad(model, lambda: model(torch.ones(1, 2)).sum() * torch.inf) == "the loss"
    with torch.no_grad():
        model[0].bias[1] = torch.nan
    assert first_bad(model, lambda: model(torch.ones(1, 2)).sum()) == "the weight 0.bias"


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Batch], bool]], None]:
    """poison(test): the translation loss is not a number for the batches that pass the test."""

    def apply(test: Callable[[Batch], bool]) -> None:
        build = TranslationConfig.build

        def poisoned(config: TranslationConfig) -> Objective:
            objective = build(config)

            def loss(model: Model, batch: Batch) -> Loss:
                found = objective(model, batch)
                return found._replace(total=found.total * torch.nan) if test(batch) and model.training else found

            return loss

        monkeypatch.setattr(TranslationConfig, "build", poisoned)

    return apply


def test_a_bad_batch_is_named_kept_and_left_out(
    poison: Callable[..., None], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    poison(lambda batch: 17 in batch.examples)
    run = train(recipe(over={"train.max_steps": 24}), tmp_path, quiet=True)
    assert run.result is not None
    assert run.result["step"] == 24
    (failure, *_) = sorted((run.path / "failures").iterdir())
    about = json.loads((failure / "state.json").read_text())
    assert about["reason"] == "the loss"
    assert 17 in about["examples"][0]
    kept = checkpoint.read_tensors(failure / "batch-0.safetensors")
    assert {"inputs", "targets", "source", "positions", "source_positions"} <= kept.keys()
    assert kept["inputs"].shape[0] == len(about["examples"][0])
    state = checkpoint.read_state(run.last)
    assert about["batches"][0] in state["skip"]
    steps = [line["step"] for line in run.metrics if "loss" in line]
    assert steps == list(range(2, 25, 2))
    log = (run.path / "log.txt").read_text()
    assert "the loss is not finite; the batch (examples " in log
    assert "Going on from step" in log


def test_of_several_micro_batches_only_the_bad_one_is_left_out(
    poison: Callable[..., None], recipe: Callable[..., Recipe], session: Callable[..., Session]
) -> None:
    poison(lambda batch: 17 in batch.examples)
    made = session(recipe(over={"train.max_steps": 6, "train.accumulate": 3}))
    position = loop.train(made, lambda: False)
    assert position.step == 6
    assert position.skip
    assert all(17 in made.job.loader.batch(*cursor).examples for cursor in position.skip)


def test_repeated_failure_stops_clearly_and_leaves_the_last_healthy_checkpoint(
    poison: Callable[..., None], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    asked = recipe(over={"train.max_steps": 24})
    calls: list[int] = []
    poison(lambda batch: len(calls) > 9 or calls.append(1) is not None)
    with pytest.raises(
        UserError, match=r"This was failure 3 since the last checkpoint, so training has stopped; lower"
    ):
        train(asked, tmp_path, quiet=True)
    assert checkpoint.fault(tmp_path / "tiny" / "last") is None
    assert checkpoint.read_state(tmp_path / "tiny" / "last")["step"] == 8


def test_failures_are_counted_from_the_last_checkpoint_on(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them before each checkpoint end no training, however many there are in all."""
    read, calls = loop.read, list[int]()

    def failing(losses: list[Loss], norm: Tensor) -> tuple[dict[str, float], float]:
        calls.append(1)
        sums, value = read(losses, norm)
        return sums, math.nan if len(calls) in (1, 2, 5, 6, 9, 10) else value

    monkeypatch.setattr(loop, "read", failing)
    over = {"train.max_steps": 6, "train.validate_every": 2, "train.samples": 0}
    run = train(recipe(over=over), tmp_path, quiet=True)
    assert run.result is not None
    assert run.result["step"] == 6
    assert (run.path / "log.txt").read_text().count("Going on from step") == 6


def test_a_failure_is_found_whatever_the_mixer(tmp_path: Path) -> None:
    """Some keep parameters that are not trained, and so have no gradient to look at."""
    from transduce.inspect.combinations import language_model, mixers

    tried, frozen = 0, 0
    for name, config in mixers().items():
        try:
            model = language_model(config).build(11, 0)
        except UserError:  # it reads the whole sequence, so that it cannot stand in a decoder
            continue
        tried, frozen = tried + 1, frozen + any(not p.requires_grad for p in model.parameters())
        ids = torch.arange(5)[None]
        batch = Batch(ids, right_padded(torch.tensor([5]), 5), ids + 1, examples=(0,))
        total = lambda: NextTokenConfig().build()(model, batch).total  # noqa: B023, E731
        assert first_bad(model, total) is None, name
        assert first_bad(model, lambda: total() * torch.nan) == "the loss", name  # noqa: B023
    assert tried > 15
    assert frozen


def test_weights_that_are_not_finite_are_never_saved(
    recipe: Callable[..., Recipe], session: Callable[..., Session]
) -> None:
    made = session(recipe(over={"train.max_steps": 9}))
    step, done = made.moving.optimizers[0].step, list[int]()

    def broken() -> None:
        step()
        done.append(1)
        if len(done) == 8:
            with torch.no_grad():
                next(made.job.model.parameters()).fill_(torch.inf)

    made.moving.optimizers[0].step = broken  # type: ignore[assignment]
    position = loop.train(made, lambda: False)
    assert position.step == 9
    assert "the weight encoder.embed.weight is not finite" in (made.run.path / "log.txt").read_text()
    assert made.moving.finite()
