"""A run that trains on shards has the bits of one that holds its data in memory, killed or not."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transduce.config import from_data
from transduce.errors import UserError
from transduce.runs.prepare import prepare
from transduce.runs.recipe import Recipe
from transduce.training.train import train

beside = importlib.util.spec_from_file_location("resume", Path(__file__).with_name("test_resume.py"))
assert beside is not None
assert beside.loader is not None
resume = importlib.util.module_from_spec(beside)
beside.loader.exec_module(resume)
killer = resume.killer  # the fixture
OF_SHARDS = {"config.yaml", "hashes.json"}  # which name `prepared`

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "stream": ("language", {"data.unit": "file"}),
    "carried stream": ("language", {"data.unit": "file", "batch.carry": True, "model.mixer": "lstm",
                                    "model.positions": "none"}),
    "lines": ("language", {"batch.packing": True}),
    "pairs": ("translation", {"train.accumulate": 2}),
    "packed pairs": ("translation", {"batch.packing": True}),
}  # fmt: skip


def numbers(run: Path) -> dict[str, Any]:
    return {k: v for k, v in resume.contents(run).items() if not k.startswith("cache/") and k not in OF_SHARDS}


@pytest.mark.parametrize("case", CASES)
def test_a_run_on_shards_is_the_run_from_memory(case: str, tiny: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    task, over = CASES[case]
    memory = train(from_data(Recipe, tiny(task, {**over, "prepared": "never"})), tmp_path / "memory", quiet=True)
    cached = train(from_data(Recipe, tiny(task, {**over, "prepared": "run"})), tmp_path / "cached", quiet=True)
    shared = from_data(Recipe, tiny(task, over))
    prepare(shared, tmp_path / "shards", processes=1)
    over = {**over, "prepared": str(tmp_path / "shards")}
    given = train(from_data(Recipe, tiny(task, over)), tmp_path / "given", quiet=True)
    assert (cached.path / "cache" / "index.json").is_file()
    assert not (given.path / "cache").exists()
    assert numbers(memory.path) == numbers(cached.path) == numbers(given.path)


def test_a_run_goes_on_from_memory_to_shards_and_back(tiny: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    def part(steps: int, prepared: str, root: str) -> Path:
        made = from_data(Recipe, tiny("language", {"train.max_steps": steps, "prepared": prepared}))
        return train(made, tmp_path / root, quiet=True).path

    part(4, "never", "parts")
    part(8, "run", "parts")
    last = part(12, "never", "parts")
    one = part(12, "run", "one")
    for name in ("metrics.jsonl", "data.json", "last/model.safetensors", "last/state.json"):
        assert (last / name).read_bytes() == (one / name).read_bytes(), name


@pytest.mark.parametrize("case", ["stream", "pairs"])
def test_killed_at_any_instant_its_cache_included(
    case: str, tiny: Callable[..., dict[str, Any]], killer: resume.Killer, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(resume, "MAY_DIFFER", {*resume.MAY_DIFFER, "index.json"})  # it has times of files
    task, over = CASES[case]
    resume.assert_kills_change_nothing(tiny(task, {**over, "prepared": "run"}), killer, tmp_path, case, most=4)


def test_shards_stand_for_data_that_are_not_here(
    tiny: Callable[..., dict[str, Any]], texts: Path, tmp_path: Path
) -> None:
    shutil.copytree(texts, tmp_path / "texts")
    over = {"data.path": str(tmp_path / "texts"), "prepared": str(tmp_path / "shards"), "train.max_steps": 4}
    made = from_data(Recipe, tiny("language", over))
    prepare(made, tmp_path / "shards", processes=1)
    one = train(made, tmp_path / "one", quiet=True)
    shutil.rmtree(tmp_path / "texts")
    two = train(made, tmp_path / "two", quiet=True)
    assert numbers(one.path) == numbers(two.path)


def test_shards_that_do_not_fit_the_run_are_refused(tiny: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    prepare(from_data(Recipe, tiny("language")), shards, processes=1)
    for over, what in (
        ({"prepared": str(shards), "data.unit": "paragraph"}, "was prepared from something else: data.unit"),
        ({"prepared": str(tmp_path / "nowhere")}, "has no index.json, so it holds no prepared data"),
    ):
        with pytest.raises(UserError, match=what):
            train(from_data(Recipe, tiny("language", over)), tmp_path / "runs", quiet=True)
        assert not (tmp_path / "runs").exists()
    index = json.loads((shards / "index.json").read_text())
    (shards / "index.json").write_text(json.dumps({**index, "tokenizer": "tokenizer.json:0"}))
    with pytest.raises(UserError, match="was prepared with another tokeniser"):
        train(from_data(Recipe, tiny("language", {"prepared": str(shards)})), tmp_path / "runs", quiet=True)
