"""Experiments made so small that they run in a moment, and a text to run them on."""

import dataclasses
from collections.abc import Callable
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
    "associative-retrieval": {"size": 16},  # that of its random features
    "copying-and-attention": {"lengths": [10, 20], "steps": 2},  # which its marks name
    "path-length": {"lengths": [10, 50, 256], "steps": 2},
    "imputation": {"topics": 2, "tests": 4},
    "layer-costs": {
        "lengths": [64, 128], "widths": [8, 16], "kernels": [2, 3], "windows": [16, 32], "distances": [2, 5, 47],
        "path_width": 4,
    },
    "translation-scores": {"vocabulary": 300},
    "human-preferences": {
        "steps": 6, "updates": 2, "rounds": 2, "walks": 2, "walks_of_round": 1, "pool": 2, "pairs_of_update": 8,
        "size": 8,
    },
}  # fmt: skip
FOLDERS = {"sentence-polarity": "reviews", "movie-ratings": "ratings"}  # those that do not read `text`


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
    for language, line in (("de", "der schnelle braune Fuchs"), ("en", "the quick brown fox")):
        for split, times in (("train", 40), ("val", 6)):
            rows = (" ".join(line.split()[i % 3 :]) for i in range(times))
            (folder / f"{split}.{language}").write_text("".join(f"{row}\n" for row in rows), "utf-8")
    (folder / "valid.txt").write_text("the lazy dog jumps over the quick brown fox\n" * 4, "utf-8")
    return folder


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of labelled sentences, of 3 to 8 words, of which one tells the label."""
    folder, told = tmp_path_factory.mktemp("reviews"), ("a dull film , ", "a funny film , ")
    for name, count in (("train.txt", 60), ("valid.txt", 18)):
        rows = (f"{i % 2} {(told[i % 2] + 'so it is to me')[: 11 + i % 13 + i % 2]}" for i in range(count))
        (folder / name).write_text("".join(f"{row}\n" for row in rows), "utf-8")
    return folder


@pytest.fixture(scope="session")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ratings: half of the users like half of the films, the others the other half; two by each are later,
    and one more of a film that nobody else has seen.
    """
    folder, splits = tmp_path_factory.mktemp("ratings"), (range(18), range(18, 20))
    for name, places in zip(("train", "valid"), splits, strict=True):
        rows = ["userId,movieId,rating,timestamp"]
        for user in range(40):
            for place in places:
                film = (7 * user + 11 * place) % 30
                rows.append(f"{user + 1},{10 * film},{4.5 if (user + film // 5) % 2 else 1.5},{1000 + place}")
        rows += ["1,301,3.0,2000"] if name == "valid" else []
        (folder / f"ratings_{name}.csv").write_text("".join(f"{row}\n" for row in rows), "utf-8")
    return folder


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """By the name of an experiment, what it is given as `--data`."""
    return lambda name: request.getfixturevalue(FOLDERS.get(name, "text"))
