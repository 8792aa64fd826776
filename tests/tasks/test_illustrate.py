"""Drawing by captions: what is asked for is drawn, whoever else is, and words that were never seen are told."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

import transduce as td
from transduce.cli.main import main
from transduce.data.columns import Columns
from transduce.data.readers.labels import Labels
from transduce.data.readers.pictures import Pictures
from transduce.data.readers.reader import Readers
from transduce.errors import Notice, UserError
from transduce.model.architecture.denoiser import DenoiserConfig
from transduce.model.architecture.illustrator import IllustratorConfig
from transduce.model.illustrator import Illustrator
from transduce.tasks.draw import DrawConfig
from transduce.tasks.illustrate import IllustrateConfig
from transduce.tasks.picturing import folder_name
from transduce.text.word import Word

SMALL: dict[str, Any] = {
    "model.width": 16, "model.layers": 2, "model.mixer.heads": 2, "model.feedforward.hidden": 24,
    "model.embedding.patch": 2, "model.frequencies": 16, "batch.batch_tokens": 12, "batch.max_length": 12,
    "optimizer.learning_rate": 0.01,
    "schedule.warmup_steps": 2, "train.max_steps": 150, "train.validate_every": 75, "train.threads": 1,
    "train.device": "cpu", "train.ema": 0.9, "train.precision": "fp32", "task.steps": 8,
}  # fmt: skip
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "grey": (90, 90, 90)}
FORMS = ("a {} one", "this is a {} picture", "{}")


@pytest.fixture(scope="module")
def table(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captions")
    for split in ("train", "valid"):
        files = sorted((photos / split).glob("*/*.png"))
        rows = [f"{path},{FORMS[i % 3].format(path.parent.name)}" for i, path in enumerate(files)]
        (folder / f"{split}.csv").write_text("\n".join(["image,caption", *rows]) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    return td.train("illustrate", {"data.path": str(table), **SMALL}, out=out, quiet=True).path


def test_what_a_caption_says_is_drawn(run: Path) -> None:
    model = td.load(run, device="cpu")
    asked = [
        "a red one",
        "this is a green picture",
        "grey",
        "a green picture",
        "this is red",
    ]  # the last two were never seen
    drawn = model.draw(given=asked, count=8, guidance=1.0)
    for i, label in enumerate(("red", "green", "grey", "green", "red")):
        own = np.stack(drawn[8 * i : 8 * i + 8]).astype(float)
        assert own.shape == (8, 8, 10, 3)
        far = {name: np.abs(own.mean((0, 1, 2)) - colour - 25).mean() for name, colour in COLOURS.items()}
        assert min(far, key=far.__getitem__) == label, far


@pytest.mark.filterwarnings("ignore::transduce.errors.Notice")  # of #1, a word that was never seen
def test_a_picture_depends_on_its_caption_the_seed_and_its_number_alone(run: Path) -> None:
    model = td.load(run, device="cpu")
    many = model.draw(given=["this is a green picture", "grey"], count=20, steps=4, guidance=1.0)
    few = model.draw(given="grey", count=3, steps=4, guidance=1.0)
    assert all(np.array_equal(one, other) for one, other in zip(few, many[20:23], strict=True))
    assert not np.array_equal(few[0], model.draw(given="grey", steps=4, seed=1, guidance=1.0)[0])
    first, third, other = model.predict(["grey", "grey#2", "a green#1 one#0"])
    again = model.draw(given="grey", count=3)
    assert np.array_equal(np.array(first), again[0])
    assert np.array_equal(np.array(third), again[2])
    assert np.array_equal(np.array(other), model.draw(given="a green#1 one")[0])


def test_a_caption_is_read_once_for_all_that_is_drawn_of_it(run: Path) -> None:
    opened, calls = td.load(run, device="cpu"), list[int]()
    assert isinstance(opened.model, Illustrator)
    opened.model.texts.embed.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    opened.draw(given=["grey", "a red one"], count=20, steps=6, guidance=2.0)
    assert calls == [1, 1]


def test_words_that_were_never_seen_are_told(run: Path) -> None:
    model = td.load(run, device="cpu")
    with pytest.warns(Notice, match=r"no caption of the training data has 'blue', 'dog'; all such words are the same"):
        strange = model.draw(given="a blue dog", steps=2)
    with pytest.warns(Notice, match="'purple', 'cat'"):
        assert np.array_equal(model.draw(given="a purple cat", steps=2)[0], strange[0])


def test_a_grid_and_folders_of_captions(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["draw", str(run), "--given", "a red one", "--given", "grey", "--count", "3", "--steps", "2"]
    assert main([*words, "--out", str(tmp_path / "grid.png")]) == 0
    assert np.asarray(Image.open(tmp_path / "grid.png")).shape == (2 * 8 + 2, 3 * 10 + 4, 3)
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "drawn"), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["given"], row["number"]) for row in rows] == [(x, i) for x in ("a red one", "grey") for i in range(3)]
    assert rows[1]["drawn"] == str(tmp_path / "drawn" / "a red one" / "00001.png")
    assert main(["draw", str(run), "--steps", "2", "--out", str(tmp_path / "none")]) == 0  # of no caption
    assert [p.name for p in tmp_path.glob("none/*/*")] == ["00000.png"]


def test_names_of_folders_are_short_and_stay_where_they_are(tmp_path: Path) -> None:
    assert folder_name("a/b c") == "a_b c"
    strange = ["..", ".", "é" * 300, "é" * 300 + "e", "x" * 500, "x" * 201]
    names = [folder_name(one) for one in strange]
    assert len(set(names)) == len(strange)
    for name in names:
        (tmp_path / name).mkdir()
    assert len([*tmp_path.iterdir()]) == len(strange)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--given", " "], "the caption is blank, so it says nothing to draw; write some words, or leave it out"),
        (["--guidance", "2"], "guidance=2 sets off a caption, but none is given; name it"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_gets_one_sentence(
    run: Path, words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["draw", str(run), *words, "--out", str(tmp_path / "grid.png")]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "grid.png").exists()


def test_labels_that_are_captions_are_told(table: Path, photos: Path) -> None:
    with pytest.raises(UserError, match="gives image and text; the recipe `illustrate` draws by captions"):
        td.recipe("draw", {"data.kind": "captions", "data.path": str(table)})
    few, many = (Readers(None, {"label": Labels(names=tuple(map(str, range(n))))}) for n in (5, 6))
    model, examples = DenoiserConfig(), cast(Any, range(10))
    assert DrawConfig().unlearnable(model, few, "train", examples) == []
    assert "train has 6 labels for 10 pictures" in DrawConfig().unlearnable(model, many, "train", examples)[0]
    assert DrawConfig().unlearnable(model, many, "valid", examples) == []
    file = str(photos / "train" / "red" / "0.png")
    own = DrawConfig().readers(Columns({"image": [file, file], "label": ["a red one", "red"]}))
    for label, path, sentence in (
        ("one", file, "was not there in training; .*`illustrate`"),
        ("a red one", "x", "x: no such file"),
    ):
        with pytest.raises(UserError, match=sentence) as caught:
            DrawConfig().examples(Columns({"image": [path], "label": [label]}), Readers(None, own))
        assert ("illustrate" in str(caught.value)) == (label == "one")


def readers() -> Readers:
    own = Pictures(height=8, width=12, channels=3, mean=(0.5,) * 3, deviation=(0.5,) * 3)
    return Readers(Word().train(["a b"]), {"image": own})


def test_a_model_is_shaped_by_the_pictures() -> None:
    task, shaped = IllustrateConfig(), IllustrateConfig().shaped(IllustratorConfig(width=16, layers=1), readers())
    assert isinstance(shaped, IllustratorConfig)
    assert shaped.channels == 3
    model = shaped.build(task.size(readers()))
    task.check(model, readers())
    assert model.head is not None
    assert model.head.size == 3 * 8 * 12


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (DenoiserConfig(width=16), r"draws by captions, .*use model\.kind=illustrator"),
        (IllustratorConfig(channels=1), "channels=1, but pictures are read with 3; leave it out"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)  # fmt: skip
def test_another_model_is_refused(model: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        IllustrateConfig().shaped(model, readers())
