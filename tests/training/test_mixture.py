"""A training on a mixture: resumed bit for bit, from shards as from memory, validated source by source."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from transduce import api
from transduce.config import from_data
from transduce.data.mixture import Mixture
from transduce.runs.prepare import prepare
from transduce.runs.recipe import Recipe
from transduce.training.train import train

beside = importlib.util.spec_from_file_location("prepared", Path(__file__).with_name("test_prepared.py"))
assert beside is not None
assert beside.loader is not None
prepared = importlib.util.module_from_spec(beside)
beside.loader.exec_module(prepared)
resume, killer = prepared.resume, prepared.killer  # the fixture


def mixed(task: str, tiny: Callable[..., dict[str, Any]], texts: Path, over: dict[str, Any]) -> dict[str, Any]:
    """A recipe of two sources; the second one is the middle of the first, with validation data of its own."""
    second, endings = texts.parent / "second", (".src", ".tgt", ".txt")
    second.mkdir(exist_ok=True)
    for ending in endings:
        lines = (texts / f"train{ending}").read_text().splitlines(keepends=True)
        (second / f"train{ending}").write_text("".join(lines[50:90]))
        (second / f"valid{ending}").write_text("".join(lines[3:9]))
    data = tiny(task)["data"] | ({"unit": "file"} if task == "language" else {})
    of = {"big": data, "small": {**data, "path": str(second)}}
    made = tiny(task, {"train.max_steps": 8, **over})
    more = {key.removeprefix("data."): value for key, value in over.items() if key.startswith("data.")}
    return made | {"data": {"kind": "mixture", "of": of, "weights": {"big": 1.0, "small": 3.0}, **more}}


@pytest.mark.parametrize(("task", "kills", "over"), [
    ("language", 3, {"prepared": "run", "batch.workers": 2, "train.accumulate": 2, "train.log_every": 3}),
    ("translation", 2, {"train.save_every": 5, "batch.packing": True, "data.exhausted": "stop", "train.max_steps": 40}),
])  # fmt: skip
def test_killed_at_any_instant_it_goes_on_bit_for_bit(
    task: str, kills: int, over: dict[str, Any], tiny: Callable[..., dict[str, Any]], texts: Path,
    killer: resume.Killer, tmp_path: Path, monkeypatch: Any,
) -> None:  # fmt: skip
    monkeypatch.setattr(resume, "MAY_DIFFER", {*resume.MAY_DIFFER, "index.json"})
    recipe = mixed(task, tiny, texts, over)
    resume.assert_kills_change_nothing(recipe, killer, tmp_path, task, most=kills)
    log = (tmp_path / "whole" / "tiny" / "log.txt").read_text()
    assert "an epoch mixes big 2" in log
    assert "trained on big 2" in log
    if "data.exhausted" in over:
        result = json.loads((tmp_path / "whole" / "tiny" / "result.json").read_text())
        assert 0 < result["step"] < 40
        assert "data.of.small has been read once and data.exhausted=stop, so the training ends here" in log


@pytest.mark.parametrize("task", ["language", "translation"])
def test_shards_serve_whatever_the_weights_are(
    task: str, tiny: Callable[..., dict[str, Any]], texts: Path, tmp_path: Path
) -> None:
    weighed = mixed(task, tiny, texts, {"prepared": str(tmp_path / "shards")})
    prepare(from_data(Recipe, mixed(task, tiny, texts, {"data.weights": {}})), tmp_path / "shards", processes=1)
    memory = train(from_data(Recipe, {**weighed, "prepared": "never"}), tmp_path / "memory", quiet=True)
    shared = train(from_data(Recipe, weighed), tmp_path / "shared", quiet=True)
    assert prepared.numbers(memory.path) == prepared.numbers(shared.path)
    logged = [line for line in memory.metrics if "share_small" in line]
    assert len(logged) == 4
    assert abs(logged[-1]["share_small"] - 0.75) < 0.2


def test_the_loss_of_each_source_is_that_of_the_source_alone(
    tiny: Callable[..., dict[str, Any]], texts: Path, tmp_path: Path
) -> None:
    run = train(from_data(Recipe, mixed("language", tiny, texts, {})), tmp_path, quiet=True)
    model = api.load(str(run.path))
    whole = model.evaluate("valid")
    counts, total = 0, 0.0
    assert isinstance(model.recipe.data, Mixture)
    for name, source in model.recipe.data.of.items():
        alone = replace(model, recipe=replace(model.recipe, data=source)).evaluate("valid")
        assert whole.means[f"loss_{name}"] == pytest.approx(alone.loss, rel=1e-6)
        counts, total = counts + alone.count, total + alone.loss * alone.count
    assert whole.count == counts
    assert whole.loss == pytest.approx(total / counts, rel=1e-6)
    assert [line for line in run.metrics if "val_loss_small" in line][-1]["val_loss_big"] > 0
