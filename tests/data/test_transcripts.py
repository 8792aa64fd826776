"""Where sounds with texts lie: tables of paths, and folders with a text beside each sound."""

import shutil
from pathlib import Path

import pytest

from transduce.data.transcripts import Transcripts
from transduce.errors import UserError


@pytest.fixture
def folder(tones: Path, tmp_path: Path) -> Path:
    for n, path in enumerate(sorted((tones / "train").glob("*/*.wav"))):
        shutil.copy(path, tmp_path / f"{n:02}.wav")
        (tmp_path / f"{n:02}.txt").write_text(f"{path.parent.name}\nnumber {n}\n")
    return tmp_path


def test_texts_lie_beside_sounds(folder: Path) -> None:
    splits = Transcripts(path=str(folder)).load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 32, "valid": 4}
    rows = [row for split in splits.values() for row in zip(split["sound"], split["text"], strict=True)]
    assert all(text == " ".join(Path(path).with_suffix(".txt").read_text().split("\n")[:2]) for path, text in rows)
    assert Transcripts(path=str(folder)).remarks() == []


def test_folders_of_splits_are_read(folder: Path) -> None:
    for split in ("train", "dev"):
        shutil.copytree(folder, folder / "all" / split, ignore=shutil.ignore_patterns("all"))
    splits = Transcripts(path=str(folder / "all")).load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 36, "valid": 36}


def test_a_table_is_read_as_seen_from_where_it_lies(folder: Path) -> None:
    rows = [f"{path.name}\ttext {path.stem}" for path in sorted(folder.glob("*.wav"))]
    (folder / "train.tsv").write_text("\n".join(["audio\ttranscript", *rows]) + "\n")
    splits = Transcripts(path=str(folder)).load()
    assert all(text == f"text {Path(path).stem}" for path, text in zip(*splits["valid"].values.values(), strict=True))
    assert all(Path(path).is_file() for path in splits["train"]["sound"])


def test_what_is_missing_gets_one_sentence(folder: Path) -> None:
    (folder / "03.txt").unlink()
    with pytest.raises(UserError, match=r"1 of 36 sounds in .* have no text beside them \(03\.wav\); write NAME\.txt"):
        Transcripts(path=str(folder)).load()
    (folder / "none").mkdir()
    with pytest.raises(UserError, match=r"none has no sounds, nor a table train\.csv"):
        Transcripts(path=str(folder / "none")).load()
    with pytest.raises(UserError, match="absent"):
        Transcripts(path=str(folder / "absent")).load()
