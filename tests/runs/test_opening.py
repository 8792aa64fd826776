"""A run opens with the weights of the checkpoint that is asked for, wherever its folder stands."""

import shutil
from pathlib import Path

import pytest
import torch

from transduce.errors import UserError
from transduce.runs.checkpoint import read_tensors
from transduce.runs.opening import open_run
from transduce.runs.run import Run
from transduce.runs.weights import weights

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["letters", "reversal"])
def test_it_opens_what_is_asked_for_and_needs_nothing_outside(name: str, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(DATA / name, tmp_path / "moved", symlinks=True)))
    for checkpoint in ("last", run.last.resolve().name):
        model, readers, recipe = open_run(run, checkpoint)
        assert recipe == run.recipe
        assert readers.text.vocab_size == recipe.task.size(readers)
        there = read_tensors(run.last.resolve() / "model.safetensors")
        assert all(torch.equal(x, there[key]) for key, x in weights(model).items())
    with pytest.raises(UserError, match=r"has no checkpoint `step-9`; there are best, last"):
        open_run(run, "step-9")
    shutil.rmtree(run.checkpoints)
    with pytest.raises(UserError, match="there is none yet; train it first"):
        open_run(run)
