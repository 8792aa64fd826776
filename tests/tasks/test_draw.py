"""Drawing pictures: a small model learns colours and draws those asked for, into files and as arrays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import transduce as td
from transduce.cli.main import main
from transduce.data.readers.labels import Labels
from transduce.data.readers.pictures import Pictures
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.architecture import EncoderConfig
from transduce.model.architecture.denoiser import DenoiserConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.heads.numbers import NumbersHeadConfig
from transduce.model.heads.pixels import PixelsHeadConfig
from transduce.tasks.draw import DrawConfig
from transduce.tasks.picturing import grid

SMALL: dict[str, Any] = {
    "model.width": 16, "model.layers": 2, "model.mixer.heads": 2, "model.feedforward.hidden": 24,
    "model.embedding.patch": 2, "model.frequencies": 16, "batch.batch_tokens": 12, "optimizer.learning_rate": 0.01,
    "schedule.warmup_steps": 2, "train.max_steps": 150, "train.validate_every": 75, "train.threads": 1,
    "train.device": "cpu", "train.ema": 0.9, "train.precision": "fp32", "task.steps": 8,
}  # fmt: skip
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "grey": (90, 90, 90)}


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return td.train("draw", {"data.path": str(photos), **SMALL}, out=tmp_path_factory.mktemp("runs"), quiet=True).path


def test_what_is_asked_for_is_drawn(run: Path) -> None:
    model = td.load(run, device="cpu")
    drawn = model.draw(given=["red", "green", "grey"], count=8, guidance=1.0)
    assert len(drawn) == 24
    for i, label in enumerate(COLOURS):
        own = np.stack(drawn[8 * i : 8 * i + 8]).astype(float)
        assert own.shape == (8, 8, 10, 3)
        far = {name: np.abs(own.mean((0, 1, 2)) - colour - 25).mean() for name, colour in COLOURS.items()}
        assert min(far, key=far.__getitem__) == label, far
    assert all(one.dtype == np.uint8 for one in drawn)


def test_a_picture_depends_on_its_label_the_seed_and_its_number_alone(run: Path) -> None:
    model = td.load(run, device="cpu")
    many = model.draw(given=["green", "red"], count=20, steps=4)
    few = model.draw(given="red", count=3, steps=4)
    assert all(np.array_equal(one, other) for one, other in zip(few, many[20:23], strict=True))
    assert not np.array_equal(few[0], model.draw(given="red", steps=4, seed=1)[0])
    first, third = model.predict(["red", "red#2"])
    again = model.draw(given="red", count=3)
    assert np.array_equal(np.array(first), again[0])
    assert np.array_equal(np.array(third), again[2])


def test_a_grid_and_a_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["draw", str(run), "--given", "red", "--given", "grey", "--count", "3", "--steps", "2"]
    assert main([*words, "--out", str(tmp_path / "a" / "grid.png")]) == 0
    drawn = td.load(run, device="cpu").draw(given=["red", "grey"], count=3, steps=2)
    picture = np.asarray(Image.open(tmp_path / "a" / "grid.png"))
    assert picture.shape == (2 * 8 + 2, 3 * 10 + 4, 3)
    assert np.array_equal(picture[10:, 12:22], drawn[4])
    assert capsys.readouterr().out == ""
    assert main([*words, "--out", str(tmp_path / "drawn"), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["given"], row["number"]) for row in rows] == [(x, i) for x in ("red", "grey") for i in range(3)]
    assert rows[4]["drawn"] == str(tmp_path / "drawn" / "grey" / "00001.png")
    assert np.array_equal(np.asarray(Image.open(rows[4]["drawn"])), drawn[4])
    assert main(["draw", str(run), "--steps", "2", "--out", str(tmp_path / "none")]) == 0  # of no label
    assert [p.name for p in tmp_path.glob("none/*/*")] == ["00000.png"]


def test_pictures_of_one_label_are_as_nearly_square_as_can_be() -> None:
    picture = np.zeros((4, 5), dtype=np.uint8)
    assert grid([[picture] * 16]).shape == (4 * 4 + 6, 4 * 5 + 6)
    assert grid([[picture] * 5]).shape == (2 * 4 + 2, 3 * 5 + 4)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--given", "blue"], "never trained on the label 'blue'; it draws green, grey, red"),
        (["--given", "red", "--steps", "0"], "steps=0 draws nothing but noise; take at least 1 step"),
        (["--guidance", "2"], "but none is given; name it"),
        (["--given", "red", "--eta", "2"], "eta=2.0 is not a share"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_gets_one_sentence(
    run: Path, words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["draw", str(run), *words, "--out", str(tmp_path / "grid.png")]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "grid.png").exists()


@pytest.mark.parametrize(("out", "sentence"), [([], "add --out grid.png"), (["--out", "a.jpg"], "neither a grid.png")])
def test_pictures_go_to_files(run: Path, out: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", str(run), "--given", "red", *out]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def readers(channels: int = 3) -> Readers:
    own = Pictures(height=8, width=12, channels=channels, mean=(0.5,) * channels, deviation=(0.5,) * channels)
    return Readers(None, {"image": own, "label": Labels(names=("a", "b"))})


def test_a_model_is_shaped_by_the_pictures_and_their_labels() -> None:
    shaped = DrawConfig().shaped(DenoiserConfig(width=16, embedding=PatchesConfig(patch=4)), readers())
    assert isinstance(shaped, DenoiserConfig)
    assert shaped.classes == 2
    assert shaped.head == PixelsHeadConfig(picture=(8, 12), patch=4)
    assert shaped.build(3).head.size == 3 * 8 * 12  # type: ignore[union-attr]
    numbers = np.array([[[[-1.0, 0.0], [1.0, 2.0]]]], dtype=np.float32)
    task = DrawConfig()
    shown = task.shown(readers(1), torch.from_numpy(numbers))
    assert shown[0].tolist() == [[0, 128], [255, 255]]
    assert task.manner(steps=3).limit == 1.0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (DenoiserConfig(embedding=PatchesConfig(picture=(16, 16))), "picture is 16 x 16, but pictures are read in 8"),
        (DenoiserConfig(head=PixelsHeadConfig(picture=(16, 16))), "head.picture is 16 x 16, but pictures are read in"),
        (DenoiserConfig(embedding=PatchesConfig(patch=4, stride=2)), "stride=2 has patches overlap"),
        (DenoiserConfig(embedding=PatchesConfig(patch=5)), "not whole patches of 5 pixels"),
        (DenoiserConfig(classes=7), "model.classes=7, but the data have 2 labels"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)  # fmt: skip
def test_what_does_not_fit_the_pictures_is_refused(model: DenoiserConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        DrawConfig().shaped(model, readers())


def test_another_model_is_refused() -> None:
    encoder = DrawConfig().shaped(EncoderConfig(width=16, head=NumbersHeadConfig()), readers())
    with pytest.raises(UserError, match=r"draws by removing noise; choose model\.kind=denoiser"):
        DrawConfig().check(encoder.build(3), readers())


def test_pictures_of_another_size_are_brought_to_that_of_the_model(run: Path) -> None:
    own = td.load(run, device="cpu").readers["image"]
    assert isinstance(own, Pictures)
    assert (own.height, own.width, own.mean) == (8, 10, (0.5, 0.5, 0.5))
