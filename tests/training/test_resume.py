"""A training that is killed at any instant and started again ends as if nothing had happened, bit for bit."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from transduce.errors import UserError

MAY_DIFFER = {".lock", "log.txt", "timings.jsonl", "env.json"}  # times and machines
Killer = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """killer(recipe, root, kills) -> exit codes; see killer.py."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(Path(__file__).with_name("killer.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:

        def ask(recipe: dict[str, Any], root: Path, kills: list[dict[str, Any]]) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"recipe": recipe, "root": str(root), "kills": kills}) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        assert process.stdin is not None
        process.stdin.close()


def contents(run: Path) -> dict[str, bytes | str]:
    """Every file and link of a run that must repeat."""
    paths = {str(p.relative_to(run)): p for p in sorted(run.rglob("*")) if p.name not in MAY_DIFFER}
    links = {name: os.readlink(p) for name, p in paths.items() if p.is_symlink()}
    return {**links, **{name: p.read_bytes() for name, p in paths.items() if p.is_file() and not p.is_symlink()}}


def assert_same(run: Path, reference: Path) -> None:
    ours, theirs = contents(run), contents(reference)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in theirs if ours[name] != theirs[name]] == []


def assert_kills_change_nothing(
    recipe: dict[str, Any], killer: Killer, tmp_path: Path, name: str, most: int = 5
) -> None:
    whole = killer(recipe, tmp_path / "whole", [])
    assert whole["codes"] == [0]
    draw = random.Random(name)
    kills = [{"operation": draw.randint(1, whole["operations"])} for _ in range(3)]
    kills += [{"file": draw.randint(1, 4)} for _ in range(2)]
    kills += [{"seconds": draw.uniform(0, whole["seconds"])} for _ in range(2)]
    draw.shuffle(kills)
    kills = kills[:most]
    for attempt in range(len(kills)):  # a run that ends before all kills have had their turn is followed by another
        root = tmp_path / f"killed-{attempt}"
        codes = killer(recipe, root, kills)["codes"]
        late = len(codes) > 1 and codes[-1] == UserError.exit_code  # killed when all was done: no steps are left
        assert codes[-1] == 0 or late
        assert_same(root / "tiny", tmp_path / "whole" / "tiny")
        kills = kills[len(codes) :]
        if not kills:
            break


@pytest.mark.parametrize(
    ("task", "packing", "workers"),  # every two of them meet
    [("translation", False, 0), ("translation", True, 2), ("language", False, 2), ("language", True, 0)],
)
def test_killed_at_any_instant_it_goes_on_bit_for_bit(
    task: str, packing: bool, workers: int, tiny: Callable[..., dict[str, Any]], killer: Killer, tmp_path: Path
) -> None:
    over = {"batch.packing": packing, "batch.workers": workers, "train.average": 2, "train.accumulate": 2}
    over |= {"train.log_every": 3, "train.save_every": 5, "train.ema": 0.9 if packing else None}
    recipe = tiny(task, {**over, "optimizer.kind": "muon" if packing else "adamw"})
    assert_kills_change_nothing(recipe, killer, tmp_path, f"{task} {packing} {workers}")


@pytest.mark.parametrize(("task", "workers"), [("see", 0), ("see", 2), ("match", 2), ("caption", 0), ("illustrate", 2)])
def test_pictures_that_change_at_random_are_the_same_after_a_kill(
    task: str, workers: int, tiny: Callable[..., dict[str, Any]], killer: Killer, tmp_path: Path
) -> None:
    augment = [{"kind": "crop", "border": 2}, {"kind": "flip"}, {"kind": "affine"}, {"kind": "erase", "side": 3}]
    over = {} if task == "see" else {"train.accumulate": 2}  # whose batches are computed twice, with the same dropout
    recipe = tiny(task, {"task.augment": augment, "batch.workers": workers, "train.save_every": 5, **over})
    assert_kills_change_nothing(recipe, killer, tmp_path, f"{task} {workers}", most=3 if task == "see" else 2)


@pytest.mark.parametrize(("task", "workers"), [("hear", 0), ("hear", 2), ("dictate", 2)])
def test_sounds_that_change_at_random_are_the_same_after_a_kill(
    task: str, workers: int, tiny: Callable[..., dict[str, Any]], killer: Killer, tmp_path: Path
) -> None:
    augment = [{"kind": "spec-mask", "frames": 4, "mels": 3}]
    recipe = tiny(task, {"task.augment": augment, "batch.workers": workers, "train.save_every": 5})
    assert_kills_change_nothing(recipe, killer, tmp_path, f"{task} {workers}", most=3 if task == "hear" else 2)


@pytest.mark.parametrize("mixer", ["lstm", "attention"])
def test_what_is_carried_from_batch_to_batch_survives_a_kill(
    mixer: str, tiny: Callable[..., dict[str, Any]], killer: Killer, tmp_path: Path
) -> None:
    parts = {"model.mixer": mixer, "model.positions": "none" if mixer == "lstm" else "transformer-xl"}
    over = {"data.unit": "file", "batch.carry": True, "train.accumulate": 2, **parts}
    recipe = tiny("language", {**over, **({} if mixer == "lstm" else {"model.mixer.window": 30})})
    assert_kills_change_nothing(recipe, killer, tmp_path, mixer, most=3)


@pytest.mark.parametrize("kind", ["grpo", "ppo"])
def test_answers_that_a_model_learns_from_survive_a_kill(kind: str, killer: Killer, tmp_path: Path) -> None:
    """Also between two updates from the same answers, where ppo saves every second time."""
    rows = [{"prompt": f"{c}?", "completion": c * 2} for c in "abcdefghijklmnop"]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    assert_kills_change_nothing(exploring(kind, tmp_path / "rows.jsonl"), killer, tmp_path, kind, most=3)


def exploring(kind: str, data: Path) -> dict[str, Any]:
    """The recipe of a small model that learns from the vowels of its own answers."""
    updates = {"epochs": 2, "minibatches": 3} if kind == "ppo" else {}
    heads = {"heads": {"value": {"kind": "value"}}} if kind == "ppo" else {}
    return {
        "name": "tiny", "data": {"kind": "chats", "path": str(data)}, "tokenizer": {"kind": "char"},
        "task": {"kind": "explore", "reward": {"kind": "function", "name": "rewarding:vowels"}},
        "model": {
            "kind": "decoder", "width": 16, "layers": 1, "mixer": {"kind": "attention", "heads": 2},
            "feedforward": {"kind": "mlp", "hidden": 24}, "residual": {"kind": "pre-norm", "dropout": 0.1}, **heads,
        },
        "objective": {"kind": kind, "prompts": 3, "group": 4, "max_new_tokens": 4, **updates},
        "batch": {"batch_tokens": 256, "max_length": 64},
        "optimizer": {"kind": "adamw", "learning_rate": 0.01}, "schedule": {"kind": "constant"},
        "train": {
            "max_steps": 14, "validate_every": 7, "save_every": 2, "log_every": 1, "keep": 2, "samples": 4,
            "device": "cpu", "seed": 3, "precision": "fp32", "threads": 1,
        },
        "generate": {"max_new_tokens": 4},
    }  # fmt: skip
