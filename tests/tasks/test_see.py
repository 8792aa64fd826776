"""Seeing: any body learns to tell pictures apart, files in and labels out, and what is said of what does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import transduce as td
from transduce.cli.main import main
from transduce.data.images import Images
from transduce.data.readers.labels import Labels
from transduce.data.readers.pictures import Pictures
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.architecture import EncoderConfig, EncoderDecoderConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.tasks.classifying import Classified
from transduce.tasks.see import SeeConfig

SMALL = {
    "model.width": 16, "model.layers": 1, "model.mixer.heads": 2, "model.feedforward.hidden": 24,
    "model.embedding.patch": 2, "batch.batch_tokens": 12, "optimizer.learning_rate": 0.01, "schedule.warmup_steps": 2,
    "train.max_steps": 30, "train.validate_every": 15, "train.threads": 1, "train.device": "cpu", "train.ema": None,
    "train.precision": "fp32",
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "vit": {"model.embedding.class_token": True, "model.head.pool": ["first"], "model.positions": "learned-2d"},
    "decoder": {
        "model.kind": "decoder", "model.head": {"kind": "classes", "pool": ["last"]},
        "model.embedding": {"kind": "patches", "patch": 2},
    },
    "lstm": {"model.mixer": "lstm", "model.positions": "none"},
    "cnn": {
        "model.mixer": "none", "model.positions": "none",
        "model.embedding": {"kind": "convolutions", "widths": [8], "strides": [2], "blocks": 1},
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def seen(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """seen(body) -> the directory of a run."""
    runs: dict[str, Path] = {}

    def of(body: str) -> Path:
        if body not in runs:
            small = {k: v for k, v in SMALL.items() if not any(k.startswith(f"{key}.") for key in BODIES[body])}
            values = {"data.path": str(photos), "task.augment": ["flip"], **small, **BODIES[body]}
            runs[body] = td.train("see", values, out=tmp_path_factory.mktemp("runs"), quiet=True).path
        return runs[body]

    return of


@pytest.mark.parametrize("body", list(BODIES))
def test_every_body_learns_and_sees_a_picture_alone_as_in_a_batch(
    body: str, seen: Callable[[str], Path], photos: Path
) -> None:
    model = td.load(seen(body), device="cpu")
    files = sorted((photos / "valid").glob("*/*.png"))
    together = model.classify(files)
    assert sum(answer.label == file.parent.name for answer, file in zip(together, files, strict=True)) >= 10
    for file, answer in zip(files[::5], together[::5], strict=True):
        alone = model.classify(str(file))
        assert isinstance(alone, Classified)
        assert alone.probability == pytest.approx(answer.probability, abs=1e-5)
    assert model.evaluate("valid").values["accuracy"].value > 0.8


def test_files_globs_and_folders_in_labels_out(seen: Callable[[str], Path], photos: Path, capsys, monkeypatch) -> None:
    run, valid = str(seen("vit")), photos / "valid"
    assert main(["classify", run, str(valid / "red")]) == 0
    assert capsys.readouterr().out == "red\n" * 4
    assert main(["classify", run, str(valid / "*" / "0.png"), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["image"] for row in rows] == [str(valid / name / "0.png") for name in ("green", "grey", "red")]
    assert [row["label"] for row in rows] == ["green", "grey", "red"]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1)
    listed = valid.parent / "listed.txt"
    listed.write_text(f"{valid / 'red' / '1.png'}\n{valid / 'green' / '1.png'}\n")
    assert main(["classify", run, "--file", str(listed)]) == 0
    assert capsys.readouterr().out == "red\ngreen\n"
    assert main(["predict", run, str(valid / "red" / "1.png")]) == 0
    assert capsys.readouterr().out == "red\n"


def test_what_cannot_be_seen_gets_one_sentence(
    seen: Callable[[str], Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, cut = str(seen("vit")), tmp_path / "cut.png"
    good = photos / "valid" / "red" / "0.png"
    cut.write_bytes(good.read_bytes()[:60])
    for words, sentence in (
        ([cut], "picture 1: "), ([good, cut], "cut.png is broken"), ([tmp_path / "*.gif"], "stands for no picture"),
        ([tmp_path / "absent.png"], "absent.png: no such file"),
    ):  # fmt: skip
        assert main(["classify", run, *map(str, words)]) == 2
        out, err = capsys.readouterr()
        assert sentence in err
        assert err.count("\n") == 1
        assert out == ("red\n" if words[0] == good else "")


def test_pictures_of_any_kind_are_seen_as_people_see_them(
    seen: Callable[[str], Path], photos: Path, tmp_path: Path
) -> None:
    picture = Image.open(photos / "valid" / "red" / "0.png")
    other = {"a.jpg": picture, "b.gif": picture.quantize(), "c.png": picture.convert("RGBA"), "d.bmp": picture}
    for name, version in other.items():
        version.resize((40, 32), Image.Resampling.NEAREST).save(tmp_path / name)
    assert {x.label for x in td.load(seen("vit"), device="cpu").classify(sorted(tmp_path.iterdir()))} == {"red"}


def readers(classes: int = 3, channels: int = 3, side: int = 8) -> Readers:
    own = Pictures(height=side, width=side, channels=channels, mean=(0,) * channels, deviation=(1,) * channels)
    return Readers(None, {"image": own, "label": Labels(names=tuple("abcdefgh"[:classes]))})


def test_what_follows_from_the_data() -> None:
    task = SeeConfig()
    shaped = task.shaped(EncoderConfig(), readers())
    assert shaped.embedding == PatchesConfig(picture=(8, 8))
    assert shaped.head == ClassesHeadConfig(classes=3, pool=("mean",))
    first = task.shaped(EncoderConfig(embedding=PatchesConfig(class_token=True)), readers())
    assert first.head == ClassesHeadConfig(classes=3, pool=("first",))
    assert task.size(readers(channels=1)) == 1
    assert task.remarks(readers()) == ["pictures are read in 8 x 8 pixels, red, green and blue"]
    with pytest.raises(UserError, match="reads a picture with one stack"):
        task.shaped(EncoderDecoderConfig(), readers())
    with pytest.raises(UserError, match=r"picture is 4 x 4, but pictures are read in 8 x 8 pixels; leave it out"):
        task.shaped(EncoderConfig(embedding=PatchesConfig(picture=(4, 4))), readers())
    with pytest.raises(UserError, match="but the data have 3 labels"):
        task.shaped(EncoderConfig(head=ClassesHeadConfig(classes=2)), readers())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"pixels": (8,)}, "neither a side nor"), ({"pixels": 0}, "at least 1"), ({"channels": 4}, "neither 1"),
     ({"background": -1}, "from 0, black")],
)  # fmt: skip
def test_odd_options_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        SeeConfig(**options)


def test_options_reach_the_reader(photos: Path) -> None:
    columns = Images(path=str(photos)).load()["train"]
    task = SeeConfig(pixels=(6, 4), channels=1, fit_by="stretch", mean=(0.5,), deviation=(0.25,))
    own = task.readers(columns)["image"]
    expected = Pictures(height=6, width=4, channels=1, fit_by="stretch", mean=(0.5,), deviation=(0.25,))
    assert own == expected


def test_a_broken_picture_is_refused_before_anything_is_learnt(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    cut = tmp_path / "photos" / "train" / "red" / "3.png"
    cut.write_bytes(cut.read_bytes()[:50])
    with pytest.raises(UserError, match=r"red/3\.png is broken"):
        td.train("see", {"data.path": str(tmp_path / "photos"), **SMALL}, out=tmp_path / "runs", quiet=True)


def test_plan_and_doctor_count_pictures(photos: Path) -> None:
    values = {"data.path": str(photos), **SMALL}
    estimate = td.plan("see", values, probe=False)
    assert estimate.batches == 3
    assert estimate.costs.tokens == 1
    findings = td.doctor("see", values)
    assert {name: split.examples for name, split in findings.splits.items()} == {"train": 36, "valid": 12}
    assert findings.padding == 0
