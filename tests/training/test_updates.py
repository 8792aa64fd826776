"""What is applied and what is logged at every update, against the formulas."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transduce.config import kinds
from transduce.model.batch import Batch
from transduce.objectives.objective import Loss
from transduce.optim.schedule import ScheduleConfig, StepDecay
from transduce.runs.average import Average
from transduce.runs.recipe import Recipe
from transduce.training import loop
from transduce.training.session import Session

RecipeOf = Callable[..., Recipe]
SessionOf = Callable[..., Session]
QUIET: dict[str, Any] = {"train.max_steps": 9, "train.samples": 0, "train.log_every": 1, "train.validate_every": 99}


def lines(session: Session) -> list[dict[str, Any]]:
    session.report.flush()
    return [line for line in session.run.metrics if "loss" in line]


def at_every_update(session: Session, see: Callable[[], None]) -> None:
    """Call `see` when the gradients are ready and the update is to be made."""
    optimizer = session.moving.optimizers[0]
    step = optimizer.step

    def watched(*args: Any) -> None:
        see()
        step(*args)

    optimizer.step = watched  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", kinds(ScheduleConfig.folder))
def test_the_rate_is_that_of_the_schedule_at_every_step(kind: str, recipe: RecipeOf, session: SessionOf) -> None:
    schedule = {"schedule": {"kind": kind, "warmup_steps": 3}}
    if kind == "step-decay":
        schedule = {"schedule": {"kind": kind, "hold": 4, "every": 2, "gamma": 0.5}}
    made = session(recipe("language", {**QUIET, **schedule, "optimizer.kind": "muon"}))
    rates = list[list[float]]()
    at_every_update(made, lambda: rates.append([g["lr"] for o in made.moving.optimizers for g in o.param_groups]))
    loop.train(made, lambda: False)
    peak = made.job.recipe.optimizer.learning_rate
    expected = [peak * made.job.recipe.schedule.factor(step) for step in range(1, 10)]
    assert len(set(expected)) > 1
    for row, rate in zip(rates, expected, strict=True):
        assert row == pytest.approx([rate] * len(row), rel=1e-12)
    assert [line["learning_rate"] for line in lines(made)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("every", [1, 3])
def test_what_is_logged_is_what_was_computed(every: int, recipe: RecipeOf, session: SessionOf) -> None:
    over = {**QUIET, "train.log_every": every, "train.accumulate": 2, "train.clip": 0.01}
    made = session(recipe("language", {**over, "objective.label_smoothing": 0.1}))
    losses, objective = list[Loss](), made.job.objective

    def recording(model: Any, batch: Batch) -> Loss:
        loss = objective(model, batch)
        losses.extend([loss] if model.training else [])
        return loss

    made.job = replace(made.job, objective=recording)  # type: ignore[arg-type]
    loop.train(made, lambda: False)
    assert len(losses) == 18
    window = 2 * every
    for i, line in enumerate(lines(made)):
        part = losses[i * window : (i + 1) * window]
        count = sum(float(loss.count) for loss in part)
        assert line["loss"] == pytest.approx(sum(float(loss.total.detach()) for loss in part) / count, rel=1e-6)
        assert line["nll"] == pytest.approx(sum(float(loss.metrics["nll"]) for loss in part) / count, rel=1e-6)
        assert line["tokens"] == sum(int(loss.count) for loss in losses[: (i + 1) * window])
        assert line["step"] == (i + 1) * every


def test_the_first_loss_is_the_cross_entropy_of_the_logits(recipe: RecipeOf, session: SessionOf) -> None:
    over = {**QUIET, "train.max_steps": 1, "model.residual.dropout": 0.0, "objective.label_smoothing": 0.1}
    made = session(recipe("language", over))
    batch, model = made.job.loader.batch(0, 0), made.job.model
    with torch.no_grad():
        logits = model.head(model.features(batch)).double()
    targets = batch.targets
    rows, kept = logits[targets >= 0], targets[targets >= 0]
    nll, smooth = F.cross_entropy(rows, kept), F.cross_entropy(rows, kept, label_smoothing=0.1)
    loop.train(made, lambda: False)
    (line,) = lines(made)
    assert line["nll"] == pytest.approx(float(nll), rel=1e-5)
    assert line["loss"] == pytest.approx(float(smooth), rel=1e-5)
    assert line["tokens"] == len(kept)


@pytest.mark.parametrize("clip", [None, 1e6, 1e-3])
def test_gradients_below_the_limit_are_left_alone_and_the_norm_is_that_before(
    clip: float | None, recipe: RecipeOf, session: SessionOf
) -> None:
    """An update of plain SGD is -rate times the gradient of the mean loss, shortened only where it is too long."""
    over = {
        **QUIET,
        "train.max_steps": 1,
        "train.clip": clip,
        "model.residual.dropout": 0.0,
        "schedule.kind": "constant",
    }
    made = session(recipe("language", over), sgd=0.5)
    batch, model = made.job.loader.batch(0, 0), made.job.model
    loss = made.job.objective(model, batch)
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss.total / loss.count, parameters)
    norm = float(torch.stack([g.double().norm() for g in gradients]).norm())
    start = [p.detach().clone() for p in parameters]
    loop.train(made, lambda: False)
    assert lines(made)[0]["grad_norm"] == pytest.approx(norm, rel=1e-5)
    scale = 1.0 if clip is None or clip > norm else clip / norm
    assert (scale < 1) is (clip == 1e-3)
    for name, p, before, g in zip(names, parameters, start, gradients, strict=True):
        torch.testing.assert_close(p.detach(), before - 0.5 * scale * g, rtol=1e-4, atol=1e-7, msg=name)


def test_the_moving_average_is_its_recursion_over_all_updates(recipe: RecipeOf, session: SessionOf) -> None:
    made = session(recipe("language", {**QUIET, "train.ema": 0.4}))
    expected = {name: p.detach().double().clone() for name, p in made.job.model.named_parameters()}
    live, steps = list[dict[str, Tensor]](), list[int]()
    update = Average.update

    def watched(average: Average, step: int) -> None:
        steps.append(step)
        live.append({name: p.detach().double().clone() for name, p in made.job.model.named_parameters()})
        update(average, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Average, "update", watched)
        loop.train(made, lambda: False)
    assert steps == list(range(1, 10))
    for step, weights in zip(steps, live, strict=True):
        decay = min(0.4, (1 + step) / (10 + step))
        expected = {name: decay * a + (1 - decay) * weights[name] for name, a in expected.items()}
    assert made.moving.average is not None
    for name, mean in made.moving.average.mean.items():
        torch.testing.assert_close(mean.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_a_run_with_a_moving_average_is_measured_and_used_with_it(recipe: RecipeOf, tmp_path: Any) -> None:
    import transduce as td
    from transduce.runs import checkpoint
    from transduce.training.train import train

    over = {"train.max_steps": 4, "train.samples": 0, "train.metric": "loss", "train.validate_every": 4}
    run = train(recipe("language", {**over, "train.ema": 0.5}), tmp_path, quiet=True)
    average = checkpoint.read_tensors(run.best / "ema.safetensors")
    weights = checkpoint.read_tensors(run.best / "model.safetensors")
    assert all(not torch.equal(average[name], weights[name]) for name in weights)
    model = td.load(run.path, device="cpu")
    assert all(torch.equal(p, average[name]) for name, p in model.model.named_parameters())
    assert [x["val_loss"] for x in run.metrics if "val_loss" in x] == [model.evaluate("valid").loss]


@pytest.mark.parametrize(("hold", "every", "gamma"), [(4, 3, 0.5), (1, 1, 0.9), (5, 2, 1.0)])
def test_step_decay_is_flat_and_then_falls_by_a_factor_in_equal_steps(hold: int, every: int, gamma: float) -> None:
    """Update 1 is the first; the first fall comes right after `hold` updates."""
    schedule, rate, expected = StepDecay(hold=hold, every=every, gamma=gamma), 1.0, list[float]()
    for done in range(20):
        if done >= hold and (done - hold) % every == 0:
            rate *= gamma
        expected.append(rate)
    assert [schedule.factor(step) for step in range(1, 21)] == pytest.approx(expected, rel=1e-12)


def test_the_recipe_of_sutskever_halves_the_rate_as_the_paper_says() -> None:
    """Sutskever et al. 2014, sec. 3.4: 0.7, after 5 of 7.5 epochs halved every half epoch."""
    from transduce import recipes
    from transduce.api import recipe as read

    decaying = [name for name in recipes.names() if "step-decay" in recipes.text(name)]
    assert decaying
    for name in decaying:
        schedule = read(name, {"data.path": "."}).schedule
        assert isinstance(schedule, StepDecay)
        assert schedule.factor(schedule.hold) == 1.0
        assert schedule.factor(schedule.hold + 1) == schedule.gamma < 1
        assert schedule.factor(schedule.hold + schedule.every) == schedule.gamma
        assert schedule.factor(schedule.hold + schedule.every + 1) == pytest.approx(schedule.gamma**2)
