"""Vectors of pictures and of captions from the command line, and what cannot be."""

from pathlib import Path
from typing import Any

import pytest

import transduce as td
from transduce.errors import UserError

from .conftest import MATCHING


def test_pictures_are_searched_for_by_a_text_and_captions_by_a_picture(matched: Path, photos: Path, cli: Any) -> None:
    found = cli("embed", matched, f"{photos / 'valid'}/*/*.png", "--search", "a green one", "--top", "4")
    assert found.code == 0, found.err
    rows = [line.split("\t") for line in found.out.splitlines()]
    assert len(rows) == 4
    assert sum("green" in path for _, _, path in rows) >= 3
    grey = photos / "valid" / "grey" / "0.png"
    back = cli("embed", matched, "--captions", "a red one", "a grey one", "--search", grey)
    assert back.out.splitlines()[0].endswith("a grey one")
    assert cli("embed", matched, photos / "valid" / "red").out.count('{"image": ') == 4
    assert cli("embed", matched, "--captions", "a red one").out.startswith('{"text": "a red one"')


def test_captions_that_repeat_are_told(captioned: Path, cli: Any) -> None:
    found = cli("doctor", "match", f"data.path={captioned}", "batch.max_length=8", "batch.batch_tokens=16")
    assert "train: 36 of 36 pairs share their caption or their picture with another" in " ".join(found.out.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["batch.packing=true"], "batch.packing=true"),
        (["batch.batch_tokens=1", "batch.max_length=1"], "at least 2"),
        (["model.channels=1"], "model.channels=1"),
        (["objective.temperature=0.1"], "objective.temperature=0.1, but model.head=joint learns its own"),
        (["objective={kind: sigmoid-contrast}"], "set model.head.kind=joint"),
    ],
)
def test_what_cannot_be_is_said(words: list[str], sentence: str, captioned: Path, cli: Any, tmp_path: Path) -> None:
    more = [f"{key}={value}" for key, value in MATCHING.items() if "both_ways" not in key]
    found = cli("train", "match", f"data.path={captioned}", *more, *words, "--out", tmp_path, "--quiet")
    assert found.code == 2
    assert sentence in found.err
    assert found.err.count("\n") == 1


def test_one_pair_is_refused_before_anything_is_learnt(captioned: Path, photos: Path, cli: Any, tmp_path: Path) -> None:
    for count, path in ((1, tmp_path / "one"), (2, tmp_path / "two")):
        path.mkdir()
        for split in ("train", "valid"):
            rows = (captioned / f"{split}.csv").read_text().splitlines()[: 1 + (count if split == "train" else 2)]
            (path / f"{split}.csv").write_text("\n".join(rows) + "\n")
    more = [f"{key}={value}" for key, value in MATCHING.items()]
    found = cli("train", "match", f"data.path={tmp_path / 'one'}", *more, "--out", tmp_path / "runs", "--quiet")
    assert found.code == 2
    assert "there is one pair, and no other" in found.err


def test_other_models_say_that_they_see_nothing(dates: Path, matched: Path, cli: Any) -> None:
    with pytest.raises(UserError, match="gives pictures no vectors"):
        td.load(dates).embed_pictures(["a.png"])
    broken = cli("embed", matched, "no-such.png", "--search", "a red one")
    assert broken.code == 2
    assert "no-such.png: no such file" in broken.err
