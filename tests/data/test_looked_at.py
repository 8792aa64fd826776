"""What `doctor` says of pictures: those that cannot be read, sizes, frames, equal ones, classes of few."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

import transduce as td
from transduce.cli.main import main
from transduce.data.images import Images
from transduce.data.looked_at import examined


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    shutil.copytree(photos, tmp_path / "photos")
    return tmp_path / "photos"


def said(folder: Path) -> list[str]:
    return examined(Images(path=str(folder)).load(), "image", "label")[1]


def test_of_what_is_as_it_should_be_nothing_is_said(folder: Path) -> None:
    splits = Images(path=str(folder)).load()
    left, lines = examined(splits, "image", "label")
    assert lines == []
    assert {name: split["image"] for name, split in left.items()} == {n: s["image"] for n, s in splits.items()}


def test_all_that_is_odd_is_told(folder: Path) -> None:
    train = folder / "train"
    for i in range(4):
        broken = train / "red" / f"{i}.png"
        broken.write_bytes(broken.read_bytes()[:60])
    Image.new("RGB", (3, 2)).save(
        train / "grey" / "moves.gif", save_all=True, append_images=[Image.new("RGB", (3, 2), 9)]
    )
    shutil.copyfile(train / "green" / "1.png", folder / "valid" / "green" / "copy.png")
    shutil.copyfile(train / "green" / "2.png", train / "grey" / "again.png")
    splits = Images(path=str(folder)).load()
    left, lines = examined(splits, "image", "label")
    assert len(left["train"]) == 36 + 2 - 4
    assert lines[0].startswith("train: 4 pictures cannot be read: ")
    assert lines[0].count("is broken") == 3
    assert lines[0].endswith("; 1 more")
    assert lines[1] == "train: pictures have 2 sizes, from 2 x 3 to 8 x 10 pixels (height x width)"
    assert lines[2].startswith("train: of 1 picture with several frames the first is read: ")
    assert lines[3] == "train: the bytes of 1 picture are there again with another label"
    assert lines[4] == "1 of 13 pictures of valid are equal to one of train, byte for byte; valid will flatter"


def test_a_class_of_few_is_told(folder: Path) -> None:
    for path in sorted((folder / "train" / "red").iterdir())[1:]:
        path.unlink()
    assert said(folder) == [
        "train: 'green' has 12 pictures, 'red' only 1; compare macro-F1, in which every class counts the same"
    ]


def test_doctor_goes_on_where_a_training_would_stop(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = folder / "train" / "red" / "0.png"
    broken.write_bytes(b"no picture")
    assert main(["doctor", "see", f"data.path={folder}"]) == 0
    out = capsys.readouterr().out
    assert "0.png is no picture that can be read; remove it" in " ".join(out.split())
    assert td.doctor("see", {"data.path": str(folder)}).splits["train"].examples == 35
