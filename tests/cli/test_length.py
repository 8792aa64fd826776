"""How long a training is: in steps or epochs, longer and shorter than before, with a warm-up that fits or not."""

import re
from pathlib import Path

import pytest

from transduce.runs.run import Run

from .conftest import DATES


def trained(cli, *words: str) -> tuple[int, str, str]:
    return cli("train", *[word for word in DATES if not word.startswith("schedule.")], "name=run", *words)


@pytest.mark.parametrize("schedule", ["linear", "constant", "inverse-sqrt"])
def test_going_on_takes_no_more_than_what_the_first_message_says(cli, schedule: str) -> None:
    words = [f"schedule.kind={schedule}", "schedule.warmup_steps=1"]
    assert trained(cli, *words).code == 0
    done = trained(cli, *words)
    assert done.code == 2
    more = re.findall(r"schedule\.steps=\d+", done.err)
    assert more == (["schedule.steps=4"] if schedule == "linear" else [])
    assert "raise train.max_steps above 4" in done.err
    assert trained(cli, *words, "train.max_steps=6", *more).code == 0
    lowered = trained(cli, *words, "train.max_steps=2", *more)
    assert "all 6 steps are done; to go on, raise train.max_steps above 6" in lowered.err


def test_a_run_that_is_cut_short_says_how_many_steps_it_has(cli) -> None:
    assert trained(cli, "schedule=constant").code == 0
    Path("runs/run/result.json").unlink()
    found = trained(cli, "schedule=constant", "train.max_steps=2")
    assert found.code == 0
    assert "done: 4 steps, more than train.max_steps=2 since that was lowered, all in runs/run" in found.out
    assert "going on from" not in found.out


def test_a_training_that_ends_for_want_of_progress_says_so(cli) -> None:
    words = ["schedule=constant", "optimizer.learning_rate=1e-30", "train.validate_every=1", "train.patience=2"]
    found = trained(cli, *words, "train.max_steps=9", "train.metric=loss", "train.ema=null")
    assert found.code == 0
    more = ", as the last 2 validations were no better (train.patience=2), all in runs/run"
    assert f"done: 3 of 9 steps{more}" in found.out, found.out


def test_epochs_are_another_way_of_saying_how_long(cli) -> None:
    words = [word for word in DATES if not word.startswith(("train.max_steps", "schedule."))]
    schedule = ("schedule.kind=linear", "schedule.warmup_steps=1")
    found = cli("train", *words, *schedule, "train.max_epochs=0.5", "--device", "cpu")
    assert found.code == 0, found.err
    batches = int(re.search(r"(\d+) batches per epoch", found.out)[1])  # type: ignore[index]
    recipe = Run(Path("runs/dates")).recipe
    steps = -(-batches // 2)
    assert (recipe.train.max_steps, recipe.schedule.end, recipe.train.device) == (steps, steps, "cpu")
    assert f"train.max_epochs=0.5 are {steps} steps" in found.out
    assert f"done: {steps} of {steps} steps" in found.out
    again = cli("train", *words, *schedule, "train.max_epochs=0.5")
    assert (again.code, "raise train.max_epochs above 0.5 and add schedule.steps" in again.err) == (2, True)
    other = cli("train", *words, *schedule, "train.max_epochs=1")
    assert f"schedule.steps (there {steps}, now {batches}); add schedule.steps={steps}" in other.err
    longer = cli("train", *words, *schedule, "train.max_epochs=1", f"schedule.steps={steps}")
    assert f"done: {batches} of {batches} steps" in longer.out, longer.err
    short = cli("train", *words, "schedule.kind=linear", "schedule.warmup_steps=900", "train.max_epochs=1", "name=b")
    assert "a schedule of steps=" in short.err


def test_epochs_and_steps_give_the_same_weights(cli) -> None:
    words = [word for word in DATES if not word.startswith(("train.max_steps", "schedule."))]
    schedule = ("schedule.kind=linear", "schedule.warmup_steps=1")
    assert cli("train", *words, *schedule, "train.max_epochs=0.5", "name=a").code == 0
    steps = Run(Path("runs/a")).recipe.train.max_steps
    assert cli("train", *words, *schedule, f"train.max_steps={steps}", "name=b").code == 0
    one, two = (Path(f"runs/{name}/best/model.safetensors").read_bytes() for name in "ab")
    assert one == two


@pytest.mark.parametrize("schedule", ["constant", "inverse-sqrt", "step-decay", "linear", "cosine"])
def test_a_warm_up_longer_than_the_training_is_said(cli, schedule: str) -> None:
    more = ["schedule.steps=99"] if schedule in ("linear", "cosine") else []
    found = trained(cli, f"schedule.kind={schedule}", "schedule.warmup_steps=8", *more)
    assert found.code == 0, found.err
    told = (
        "the warm-up (schedule.warmup_steps=8) is longer than the training (4 steps), so the learning rate only rises"
    )
    assert f"{told}, to 50.0% of" in found.out
    assert "warm-up" not in trained(cli, f"schedule.kind={schedule}", "schedule.warmup_steps=4", *more, "name=b").out
