"""What a shell completes: true names, and without what takes long to import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transduce import config, recipes
from transduce.cli.completion import SECTIONS, fields, keys, run_names
from transduce.runs import assumed
from transduce.runs.claim import flat
from transduce.runs.recipe import Recipe

HEAVY = {"torch", "numpy", "tokenizers", "matplotlib", "sacrebleu", "babel", "safetensors"}


def complete(words: str, folder: Path) -> list[str]:
    """Returns what bash is given for the last word."""
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr))\n"
        "from transduce.cli.main import main; main([])"
    )
    count = str(len(words.split(" ")) - 1)
    env = {**os.environ, "COMP_WORDS": words, "COMP_CWORD": count, "_TRANSDUCE_COMPLETE": "complete_bash"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stderr.strip() == "[]"
    return found.stdout.split()


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("transduce tra", ["train", "translate", "transcribe"]),
        ("transduce train rlh", ["rlhf"]),
        ("transduce train sha", ["shakespeare", "shakespeare-10m"]),
        ("transduce train dates train.max_st", ["train.max_steps="]),
        ("transduce train dates model.mixer.he", ["model.mixer.heads="]),
        ("transduce runs show ", ["runs/one", "runs/two"]),
        ("transduce runs compare runs/one runs/t", ["runs/two"]),
        ("transduce evaluate runs/o", ["runs/one"]),
        ("transduce recipes show dat", ["dates"]),
        ("transduce runs sho", ["show"]),
    ],
)
def test_words_are_completed(tmp_path: Path, words: str, first: list[str]) -> None:
    for name in ("one", "two"):
        (tmp_path / "runs" / name / "checkpoints").mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").write_text("name: a\n")
    (tmp_path / "runs" / "other").mkdir()
    assert complete(words, tmp_path) == first


@pytest.mark.parametrize("name", recipes.names())
def test_every_key_that_is_completed_is_one(name: str) -> None:
    given = [("data.path", ".")] if name not in (recipes.DEFAULT, "ring", "sums") else []
    data = recipes.read(name, given, shape=assumed.shape)
    known = set(flat(config.to_data(config.from_data(Recipe, data))))
    assert {key for key in keys(name) if key not in known and f"{key}.kind" not in known} <= {"model.base"}
    assert len(keys(name)) > 50


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_completed_whole(section: str) -> None:
    known = {key.removeprefix(f"{section}.") for key, _ in config.keys(Recipe) if key.startswith(f"{section}.")}
    assert set(fields(*SECTIONS[section])) == known


def test_a_recipe_that_cannot_be_read_still_has_its_sections() -> None:
    assert "train.max_steps" in keys("no/such/file.yaml")
    assert run_names("no/such/folder/") == []
