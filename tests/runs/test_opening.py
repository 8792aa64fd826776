"""A run opens with the weights of the checkpoint that is asked for, wherever its folder stands."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from transduce.errors import UserError
from transduce.runs.checkpoint import read_tensors
from transduce.runs.opening import open_run
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.weights import weights
from transduce.training.train import train


@pytest.mark.parametrize("ema", [None, 0.9])
def test_it_opens_what_is_asked_for_and_needs_nothing_outside(
    ema: float | None, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    over = {"train.ema": ema, "train.max_steps": 4, "train.validate_every": 2}
    run = train(recipe("language", over), tmp_path, quiet=True)
    run = Run(Path(shutil.move(run.path, tmp_path / "elsewhere")))
    opened = {name: open_run(run, name) for name in ("last", "step-00000002", "step-00000004")}
    for name, (model, readers, used, where) in opened.items():
        folder = run.last if name == "last" else run.checkpoints / name
        there = read_tensors(folder.resolve() / ("model.safetensors" if ema is None else "ema.safetensors"))
        assert all(torch.equal(x, there[key]) for key, x in weights(model).items())
        assert used == run.recipe
        assert where.resolve() == folder.resolve()
        assert readers.text.vocab_size == used.task.size(readers)
    early, late = (weights(opened[name].model) for name in ("step-00000002", "step-00000004"))
    assert any(not torch.equal(x, late[key]) for key, x in early.items())
    with pytest.raises(UserError, match=r"has no checkpoint `step-9`; there are best, last, step-00000002"):
        open_run(run, "step-9")
    shutil.rmtree(run.checkpoints)
    with pytest.raises(UserError, match="there is none yet; train it first"):
        open_run(run)
