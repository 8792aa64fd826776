"""A run that was made before a key existed goes on as it began, and says what it has always done."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import pytest
import yaml

import transduce
from transduce.runs.recipe import Recipe
from transduce.training.train import train


@pytest.mark.parametrize("kind", ["char", "word"])
def test_a_run_without_the_key_reads_text_as_it_always_has(
    recipe: Callable[..., Recipe], tmp_path: Path, kind: str
) -> None:
    new = recipe(over={"tokenizer": {"kind": kind}, "train.max_steps": 2, "train.validate_every": 2})
    run = train(replace(new, tokenizer=replace(new.tokenizer, normalise="none")), tmp_path, quiet=True)  # type: ignore[call-arg]
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    assert config["tokenizer"].pop("normalise") == "none"
    del config["task"]  # as schema 1 had it
    config["schema"] = 1
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    (run.path / "hashes.json").unlink()
    text, ids = normalize("NFD", "é a"), run.tokenizer.encode(normalize("NFD", "é a"))

    model = transduce.load(run.path)
    assert model.recipe.tokenizer.normalise == "none"  # type: ignore[attr-defined]
    assert model.tokenizer.encode(text) == ids

    assert new.tokenizer.normalise == "nfc"  # type: ignore[attr-defined]
    again = train(replace(new, train=replace(new.train, max_steps=3)), tmp_path, quiet=True)
    assert again.result is not None
    assert again.result["step"] == 3
    assert yaml.safe_load((run.path / "config.yaml").read_text())["tokenizer"]["normalise"] == "none"
    assert transduce.load(run.path).tokenizer.encode(text) == ids
