"""Where pictures lie: folders of classes, idx files, tables of paths."""

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from transduce.data import idx
from transduce.data.images import Images
from transduce.data.readers.pictures import Pictures
from transduce.errors import UserError
from transduce.runs.run import fingerprint


def write_idx(path: Path, array: np.ndarray, packed: bool = True) -> Path:
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for split, rows in (("train", 30), ("t10k", 5)):
        packed = split == "train"
        end = ".gz" if packed else ""
        write_idx(tmp_path / f"{split}-images-idx3-ubyte{end}", draw.integers(0, 256, (rows, 4, 6), np.uint8), packed)
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte{end}", np.arange(rows, dtype=np.uint8) % 3, packed)
    return tmp_path


def test_a_folder_for_each_class(photos: Path) -> None:
    splits = Images(path=str(photos)).load()
    assert list(splits) == ["train", "valid"]
    assert len(splits["train"]) == 36
    assert set(splits["train"]["label"]) == {"red", "green", "grey"}
    assert all(Path(path).parent.name == label for path, label in zip(*splits["train"].values.values(), strict=True))
    assert Images(path=str(photos)).remarks() == []


def test_what_is_held_out_does_not_depend_on_where_the_folder_is(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "train", tmp_path / "elsewhere")
    here, there = (Images(path=str(path)).load() for path in (photos / "train", tmp_path / "elsewhere"))
    assert list(here) == ["train", "valid"]
    assert len(here["valid"]) == 4
    names = [[Path(path).name for path in splits["valid"]["image"]] for splits in (here, there)]
    assert names[0] == names[1]
    assert fingerprint(here["train"]) == fingerprint(there["train"])
    next((tmp_path / "elsewhere" / "red").iterdir()).write_bytes(b"another picture")
    assert fingerprint(here["train"]) != fingerprint(Images(path=str(tmp_path / "elsewhere")).load()["train"])


def test_what_is_no_picture_of_a_class_is_told(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "train" / "red" / "notes.txt").write_text("a note")
    (folder / "train" / "0.png").write_bytes(b"")
    (folder / "valid" / "blue").mkdir()
    (folder / "train" / "red" / ".hidden").write_text("")
    assert Images(path=str(folder)).remarks() == [
        "2 files of train are no pictures of a class, and are not read: train/0.png, train/red/notes.txt",
        "valid has no pictures of blue",
    ]
    assert len(Images(path=str(folder)).load()["train"]) == 36


def test_an_empty_folder_of_a_class_is_refused(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "train" / "blue").mkdir()
    with pytest.raises(UserError, match="blue is the folder of a class, but has no pictures; put some there"):
        Images(path=str(tmp_path / "photos")).load()


@pytest.mark.parametrize("case", ["nothing", "pictures", "absent", "only valid", "columns"])
def test_what_holds_no_data_gets_one_sentence(case: str, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "train", tmp_path / "only" / "valid")
    (tmp_path / "nothing").mkdir()
    path, columns, sentence = {
        "nothing": (tmp_path / "nothing", {}, "neither a folder for each class, nor idx files"),
        "pictures": (photos / "train" / "red", {}, "neither a folder for each class"),
        "absent": (tmp_path / "absent", {}, "data.path: .*absent"),
        "only valid": (tmp_path / "only", {}, ""),
        "columns": (photos, {"label": 1}, "data.path is no table"),
    }[case]
    if not sentence:  # a folder that is called valid, with no train beside it, is a class
        assert set(Images(path=str(path), valid_fraction=0).load()["train"]["label"]) == {"valid"}
        return
    with pytest.raises(UserError, match=sentence):
        Images(path=str(path), columns=columns).load()


def test_idx_files(digits: Path) -> None:
    splits = Images(path=str(digits)).load()
    assert {name: len(split) for name, split in splits.items()} == {"train": 27, "valid": 3, "test": 5}
    whole = idx.read(digits / "train-images-idx3-ubyte.gz")
    reader = Pictures().fit(splits["train"]["image"], "image")
    assert (reader.height, reader.width, reader.channels) == (4, 6, 1)
    for path, label in zip(*splits["train"].values.values(), strict=True):
        number = int(path.partition("#")[2])
        assert number % 3 == label
        assert np.array_equal(reader.one(path)[0], whole[number])


def test_broken_idx_files_get_one_sentence(digits: Path) -> None:
    pictures, labels = digits / "train-images-idx3-ubyte.gz", digits / "train-labels-idx1-ubyte.gz"
    write_idx(labels, np.zeros(29, dtype=np.uint8))
    with pytest.raises(UserError, match="hold 30 x 4 x 6 and 29; each picture must have one label"):
        Images(path=str(digits)).load()
    labels.unlink()
    with pytest.raises(UserError, match="has no labels beside it"):
        Images(path=str(digits)).load()
    whole = pictures.read_bytes()
    plain = gzip.decompress(whole)
    for data, sentence in (
        (whole[:100], "is cut off or damaged"), (gzip.compress(plain[:-3]), "holds fewer bytes than its 30 x 4 x 6"),
        (gzip.compress(plain + b"0"), "holds more bytes"), (gzip.compress(b"GIF89a" + plain), "is no idx file"),
        (gzip.compress(plain[:2] + b"\x0d" + plain[3:]), "holds numbers of type 13"), (b"", "is no idx file"),
        (gzip.compress(plain[:4] + b"\xff" * 12), "more than are read"), (b"no gzip", "is cut off or damaged"),
    ):  # fmt: skip
        pictures.write_bytes(data)
        with pytest.raises(UserError, match=sentence):
            idx.read(pictures)
    with pytest.raises(UserError, match="no such file"):
        idx.read(digits / "absent")
    with pytest.raises(UserError, match="has no picture 5; it has 5, from 0 on"):
        idx.picture(digits / "t10k-images-idx3-ubyte", 5)


def test_a_table_with_a_column_of_paths(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "table"
    shutil.copytree(photos, folder)
    files = sorted((folder / "train").glob("*/*.png"))
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in files]
    (folder / "photos.csv").write_text("\n".join(["file,kind", *rows]) + "\n")
    data = Images(path=str(folder / "photos.csv"), columns={"label": "kind"})
    splits = data.load()
    assert len(splits["train"]) + len(splits["valid"]) == 36
    assert all(Path(path).is_file() for path in splits["train"]["image"])
    assert any("`file`" in remark for remark in data.remarks())
    (folder / "photos.csv").rename(folder / "train.csv")
    assert len(Images(path=str(folder), columns={"label": 1}).load()["train"]) == len(splits["train"])
