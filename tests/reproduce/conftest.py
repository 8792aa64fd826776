"""Experiments made so small that they run in a moment, and a text to run them on."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from transduce.config import from_data
from transduce.reproduce.experiment import Experiment, named

# By the name of the setting; one that is not listed keeps its value.
SMALL: dict[str, Any] = {
    "steps": 10, "warm_steps": 10, "warm_up": 2, "batch": 4, "width": 16, "layers": 2, "depth": 8, "depths": [2, 3],
    "tokens": 9, "distance": 7, "lengths": [4, 6], "epochs": 1, "pairs": 5, "edited": 4, "lstm": 8, "gru": 9,
    "elman": 7, "embedding": 6, "lags": 8, "draws": 1, "longest": 64, "shortest": 32, "prefixes": [4, 8], "repeats": 1,
    "parameters": 40_000, "shape": [8, 16], "convolutional_widths": [2, 2, 2], "labels": 50,
    "parameters_of_one": 20_000, "size": 8, "trained_layers": 3, "trained_width": 16,
}  # fmt: skip
OTHER = {
    "linear-is-fast-weights": {"tokens": [4, 70]},
    "representation-collapse": {"layers": 3, "steps": 3},
    "differentiable-window": {"steps": 5},
    "vanishing-gradient": {"tokens": 14},
    "copying-and-attention": {"lengths": [10, 20], "steps": 2},  # which its marks name
    "path-length": {"lengths": [10, 50, 256], "steps": 2},
}


def small(name: str) -> Experiment:
    """The experiment with every setting small."""
    kind = named(name)
    known = {field.name for field in dataclasses.fields(kind)}
    return from_data(kind, {key: value for key, value in SMALL.items() if key in known} | OTHER.get(name, {}))


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `--data` wants it."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "train.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 40, "utf-8")
    (folder / "valid.txt").write_text("the lazy dog jumps over the quick brown fox\n" * 4, "utf-8")
    return folder
