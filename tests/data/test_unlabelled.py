"""Pictures alone: folders at any depth, idx files without labels, tables with whatever columns."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from transduce.data.unlabelled import Unlabelled
from transduce.errors import UserError

from .test_images import write_idx


def test_folders_of_any_depth_with_splits_and_without(photos: Path, tmp_path: Path) -> None:
    splits = Unlabelled(path=str(photos)).load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 36, "valid": 12}
    assert splits["train"].names == ("image",)
    for number, file in enumerate(sorted((photos / "train").glob("*/*.png"))):
        at = tmp_path / ("deep" if number % 2 else ".")
        at.mkdir(exist_ok=True)
        shutil.copyfile(file, at / f"{number}.png")
    flat = Unlabelled(path=str(tmp_path), valid_fraction=0.25).load()
    assert {name: len(split) for name, split in flat.items()} == {"train": 27, "valid": 9}
    assert not set(flat["train"]["image"]) & set(flat["valid"]["image"])


def test_idx_files_need_no_labels(tmp_path: Path) -> None:
    for split, rows in (("train", 10), ("t10k", 3)):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte.gz", np.zeros((rows, 4, 6), dtype=np.uint8))
    splits = Unlabelled(path=str(tmp_path)).load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 9, "valid": 1, "test": 3}
    assert str(splits["test"]["image"][2]).endswith("#2")


@pytest.mark.parametrize("column", ["label", "caption"])
def test_tables_are_read_without_their_other_columns(column: str, photos: Path, tmp_path: Path) -> None:
    rows = [f"{path},a {path.parent.name}" for path in sorted((photos / "train").glob("*/*.png"))]
    for name in ("some", "more"):
        (tmp_path / f"{name}.csv").write_text("\n".join([f"image,{column}", *rows]) + "\n", "utf-8")
    splits = Unlabelled(path=str(tmp_path), train=("some.csv",), valid=("more.csv",)).load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 36, "valid": 36}
    assert splits["train"].names == ("image",)
    assert Unlabelled(path=str(tmp_path / "some.csv")).load()["train"].names == ("image",)


def test_what_is_not_there_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no pictures, nor idx files, nor a table"):
        Unlabelled(path=str(tmp_path)).load()
    with pytest.raises(UserError, match="nowhere"):
        Unlabelled(path=str(tmp_path / "nowhere")).load()
    with pytest.raises(UserError, match=r"data\.train names tables in a folder"):
        Unlabelled(path=str(tmp_path / "a.csv"), train=("b",)).load()
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((4, 6), dtype=np.uint8))
    with pytest.raises(UserError, match="holds 4 x 6 numbers, which are no pictures"):
        Unlabelled(path=str(tmp_path)).load()
