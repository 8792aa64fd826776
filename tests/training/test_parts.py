"""Whole runs of parts that change what a batch is to a model: two streams, tables in bands, memories of segments."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from transduce.config import from_data
from transduce.errors import UserError
from transduce.runs.recipe import Recipe
from transduce.training.train import train

BANDS: dict[str, Any] = {
    "model.embedding": {"kind": "adaptive", "cutoffs": [3], "div": 2}, "model.head": {"kind": "adaptive", "bias": True},
    "model.positions": {"kind": "transformer-xl", "lean": "stack"}, "train.max_steps": 6,
}  # fmt: skip
STREAMS: dict[str, Any] = {
    "objective": "permutation", "model.kind": "encoder", "model.embedding": {"kind": "table", "blank": True},
    "model.head": "linear", "model.positions": {"kind": "transformer-xl", "segments": True}, "train.samples": 0,
    "train.max_steps": 6,
}  # fmt: skip
CARRIED: dict[str, Any] = {"data.unit": "file", "batch.carry": True, "model.mixer.window": 8}


@pytest.mark.parametrize("over", [BANDS, {**BANDS, **CARRIED}, STREAMS], ids=["bands", "segments", "streams"])
def test_a_run_ends(over: dict[str, Any], tiny: Callable[..., dict[str, Any]], tmp_path: Any) -> None:
    result = train(from_data(Recipe, tiny("language", over)), tmp_path, quiet=True).result
    assert result is not None
    assert math.isfinite(result["test"]["loss"])


def test_two_streams_carry_nothing_on(tiny: Callable[..., dict[str, Any]], tmp_path: Any) -> None:
    with pytest.raises(UserError, match=r"set batch\.carry=false"):
        train(from_data(Recipe, tiny("language", {**STREAMS, **CARRIED})), tmp_path, quiet=True)
