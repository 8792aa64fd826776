"""What moves in a training goes into a checkpoint and comes back, to the last bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from transduce.runs.checkpoint import write
from transduce.runs.recipe import Recipe
from transduce.training import loop
from transduce.training.session import Session


@pytest.mark.parametrize("ema", [None, 0.9])
def test_it_comes_back(
    ema: float | None, recipe: Callable[..., Recipe], session: Callable[..., Session], tmp_path: Path
) -> None:
    asked = recipe("language", {"train.ema": ema, "train.max_steps": 3})
    trained, fresh = session(asked), session(asked)
    loop.train(trained, lambda: False)
    parts = trained.moving.parts()
    assert ("ema.safetensors" in parts) == (ema is not None)
    assert any(key.startswith("exp_avg/") for key in parts["optimizer.safetensors"])
    other = fresh.moving.parts()["model.safetensors"]
    assert any(not torch.equal(x, other[key]) for key, x in parts["model.safetensors"].items())
    write(tmp_path / "kept", parts, {})
    fresh.moving.load(tmp_path / "kept")
    again = fresh.moving.parts()
    assert again.keys() == parts.keys()
    for file, tensors in parts.items():
        assert again[file].keys() == tensors.keys()
        assert all(torch.equal(again[file][key], x) for key, x in tensors.items()), file
    live = trained.job.model.state_dict()
    with trained.moving.averaged():
        inside = [x.clone() for x in trained.job.model.parameters()]
    assert (ema is None) == all(torch.equal(a, b) for a, b in zip(inside, trained.job.model.parameters(), strict=True))
    assert trained.moving.finite()
    next(iter(live.values())).flatten()[0] = torch.nan
    assert not trained.moving.finite()
