"""Where pictures with captions lie: tables of paths, of any name, and folders with a text beside each picture."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from transduce.data.captioned import groups_of
from transduce.data.captions import Captions
from transduce.errors import UserError


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    """A folder of pictures, and tables whose names are not those of splits."""
    for split in ("train", "valid"):
        rows = ["file\tcaption"]
        for path in sorted((photos / split).glob("*/*.png")):
            name = f"{split}-{path.parent.name}-{path.name}"
            shutil.copy(path, tmp_path / name)
            rows.append(f"{name}\ta {path.parent.name} one")
        (tmp_path / f"captions_{split}.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_tables_of_other_names_are_named(folder: Path) -> None:
    splits = Captions(path=str(folder), train=("captions_train",), valid=("captions_valid",)).load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 36, "valid": 12}
    assert all(Path(path).is_file() for path in splits["train"]["image"])
    assert set(splits["valid"]["text"]) == {"a red one", "a green one", "a grey one"}
    one = Captions(path=str(folder / "captions_train.tsv")).load()
    assert {name: len(split) for name, split in one.items()} == {"train": 32, "valid": 4}


def test_texts_lie_beside_pictures(folder: Path) -> None:
    for path in folder.glob("*.png"):
        path.with_suffix(".txt").write_text(f"{path.stem}\n")
    splits = Captions(path=str(folder)).load()
    rows = [row for split in splits.values() for row in zip(split["image"], split["text"], strict=True)]
    assert len(rows) == 48
    assert all(Path(path).stem == text for path, text in rows)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, "have no text beside them"),
        ({"train": ("nowhere",)}, "nowhere"),
        ({"train": ("captions_train",), "path": "captions_train.tsv"}, "data.train names tables in a folder"),
        ({"columns": {"text": "title"}, "path": "captions_train.tsv"}, "no column `title`"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, more: dict[str, object], sentence: str) -> None:
    path = folder / str(more.pop("path", "."))
    with pytest.raises(UserError, match=sentence):
        Captions(path=str(path), **more).load()  # type: ignore[arg-type]


def test_a_picture_with_two_captions_stays_on_one_side(folder: Path) -> None:
    rows = (folder / "captions_train.tsv").read_text().splitlines()
    again = [f"{line.split(chr(9))[0]}\tanother" for line in rows[1:]]
    (folder / "captions_train.tsv").write_text("\n".join([*rows, *again]) + "\n")
    splits = Captions(path=str(folder / "captions_train.tsv")).load()
    assert not {*splits["train"]["image"]} & {*splits["valid"]["image"]}


def test_pairs_that_share_either_side_are_a_group() -> None:
    pictures, captions = ["a", "b", "a", "c", "d", "e"], ["1", "2", "3", "3", "2", "4"]
    groups = groups_of(pictures, captions)
    same = groups[:, None] == groups
    expected = np.zeros((6, 6), dtype=bool)
    for group in ([0, 2, 3], [1, 4], [5]):
        expected[np.ix_(group, group)] = True
    assert np.array_equal(same, expected)
