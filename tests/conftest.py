"""What all tests share, and two tiny recipes: reversing words (an encoder-decoder) and lines of letters (a decoder)."""

import csv
import itertools
import math
import os
import random
import struct
import tempfile
import wave as wave_file
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # each takes a processor: threads beside it would wait for one another
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import torch

from transduce.config import from_data, override
from transduce.data.loader import START, Cursor, Loader
from transduce.disk import replace_bytes
from transduce.model.batch import Batch
from transduce.objectives.carry import Carried
from transduce.runs import report
from transduce.runs.average import Average
from transduce.runs.claim import claim
from transduce.runs.recipe import Recipe
from transduce.runs.report import Report
from transduce.training import train as training
from transduce.training.moving import Moving
from transduce.training.progress import Display
from transduce.training.session import Session
from transduce.tune.tuning import Tuning

SHARED = Path(__file__).parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-cases", type=int, default=5, help="random cases of each kind in tests/fuzz")
    parser.addoption("--fuzz-seed", type=int, default=0, help="the number of the first of them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses names that differ from process to process, which workers could not tell each other."""
    if odd := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"{odd[0]} is named by an address in memory; give ids= to parametrize")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of larger real data sets beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared data sets are not beside this checkout")
    return SHARED


PIXEL = b"\x89PNG\r\n\x1a\n the picture of a training, which takes longer to draw than a small one to train"
DRAWN = {"transduce.runs.report.draw": report.draw, "transduce.training.finish.draw_grid": report.draw_grid}


@pytest.fixture(scope="session", autouse=True)
def plots_unseen() -> Iterator[None]:
    """Trainings inside this process draw nothing: they leave a file that begins like a picture."""

    def unseen(_: object, path: Path, title: str) -> None:
        path.parent.mkdir(exist_ok=True)
        replace_bytes(path, PIXEL)

    with pytest.MonkeyPatch.context() as patch:
        for name in DRAWN:
            patch.setattr(name, unseen)
        yield


@pytest.fixture
def plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of this test draw their plots."""
    for name, original in DRAWN.items():
        monkeypatch.setattr(name, original)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment of whoever runs the tests changes what they see."""
    monkeypatch.delenv("TRANSDUCE_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")


LETTERS = {"low": "a", "middle": "b", "high": "c"}  # of tones
Tiny = Callable[..., dict[str, Any]]


def seeing(photos: Path) -> dict[str, Any]:
    """The plain data of a recipe that tells pictures apart."""
    return {
        "name": "tiny", "data": {"kind": "images", "path": str(photos)}, "task": {"kind": "see"},
        "model": {
            "kind": "encoder", "width": 16, "layers": 1, "mixer": {"kind": "attention", "heads": 2},
            "feedforward": {"kind": "mlp", "hidden": 24}, "embedding": {"kind": "patches", "patch": 2},
            "positions": "sinusoidal-2d", "scale_embedding": False,
        },
        "batch": {"batch_tokens": 8, "max_length": 2}, "optimizer": {"kind": "adamw", "learning_rate": 0.01},
        "schedule": {"kind": "constant"},
        "train": {
            "max_steps": 12, "validate_every": 4, "log_every": 2, "keep": 2, "device": "cpu", "seed": 3,
            "precision": "fp32", "threads": 1,
        },
    }  # fmt: skip


def matching(photos: Path) -> dict[str, Any]:
    """The plain data of a recipe that learns vectors of pictures and captions, of texts that lie beside pictures."""
    for path in photos.glob("*/*/*.png"):
        path.with_suffix(".txt").write_text(f"a {path.parent.name} one, number {int(path.stem) % 3}")
    data = seeing(photos)
    model = {**data["model"], "kind": "towers", "residual": {"kind": "pre-norm", "dropout": 0.1}, "head": "joint"}
    more = {"data": {"kind": "captions", "path": str(photos)}, "task": {"kind": "match"}, "model": model}
    return {**data, **more, "tokenizer": {"kind": "char"}, "batch": {"batch_tokens": 32, "max_length": 32}}


def captioning(photos: Path) -> dict[str, Any]:
    """The plain data of a recipe that writes what pictures show."""
    data = matching(photos)
    model = {**data["model"], "kind": "encoder-decoder", "positions": "sinusoidal", "head": "linear"}
    more = {"task": {"kind": "caption"}, "model": model, "generate": {"max_new_tokens": 8}}
    return {**data, **more, "batch": {"batch_tokens": 256, "max_length": 32}}


def illustrating(photos: Path) -> dict[str, Any]:
    """The plain data of a recipe that draws by captions."""
    data = matching(photos)
    model = {**data["model"], "kind": "illustrator", "head": "pixels", "residual": {"kind": "adaptive", "dropout": 0.1}}
    return {**data, "task": {"kind": "illustrate"}, "model": {**model, "frequencies": 8}}


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train, valid and test in three files each: .src, .tgt and .txt."""
    folder, draw = tmp_path_factory.mktemp("texts"), random.Random(0)
    for split, rows in (("train", 200), ("valid", 12), ("test", 7)):
        words = ["".join(draw.choices("abcde", k=draw.randint(2, 9))) for _ in range(rows)]
        lines = ["".join(draw.choices("abcde ", k=draw.randint(2, 30))).strip() or "a" for _ in range(rows)]
        for ending, content in (("src", words), ("tgt", [w[::-1] for w in words]), ("txt", lines)):
            (folder / f"{split}.{ending}").write_text("\n".join(content) + "\n")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ and valid/ of a folder per class: pictures of 8 by 10 pixels, red, green or grey."""
    from PIL import Image

    folder, draw = tmp_path_factory.mktemp("photos"), random.Random(0)
    for split, rows in (("train", 12), ("valid", 4)):
        for label, colour in (("red", (200, 30, 30)), ("green", (30, 200, 30)), ("grey", (90, 90, 90))):
            (folder / split / label).mkdir(parents=True)
            for n in range(rows):
                cells = [tuple(min(255, c + draw.randint(0, 50)) for c in colour) for _ in range(80)]
                picture = Image.new("RGB", (10, 8))
                picture.putdata(cells)
                picture.save(folder / split / label / f"{n}.png")
    return folder


def tone(path: Path, hertz: float, samples: int, draw: random.Random, rate: int = 8000) -> None:
    """Writes a sound of 16 bits: a tone with noise in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = [math.sin(2 * math.pi * hertz * t / rate) / 2 + draw.gauss(0, 0.02) for t in range(samples)]
    data = struct.pack(f"<{samples}h", *(round(32000 * max(-1, min(1, x))) for x in wave))
    with wave_file.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, samples, "NONE", "none"))
        file.writeframes(data)


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ and valid/ of a folder per class: tones of 8,000 samples a second, low, middle or high."""
    folder, draw = tmp_path_factory.mktemp("tones"), random.Random(0)
    for split, rows in (("train", 12), ("valid", 4)):
        for label, hertz in (("low", 300), ("middle", 900), ("high", 2500)):
            for n in range(rows):
                tone(folder / split / label / f"{n}.wav", hertz * draw.uniform(0.9, 1.1), draw.randint(400, 1200), draw)
    return folder


@pytest.fixture(scope="session")
def joined(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.csv and valid.csv: one to four tones that follow one another, a letter each."""
    folder, draw = tmp_path_factory.mktemp("joined"), random.Random(0)
    for split, rows in (("train", 80), ("valid", 40)):
        clips = sorted((tones / split).glob("*/*.wav"))
        table = [("sound", "text")]
        for n in range(rows):
            some = draw.choices(clips, k=draw.randint(1, 4))
            with wave_file.open(str(folder / f"{split}{n}.wav"), "wb") as out:
                out.setparams((1, 2, 8000, 0, "NONE", "none"))
                for clip in some:
                    with wave_file.open(str(clip)) as sound:
                        out.writeframes(sound.readframes(sound.getnframes()) + struct.pack("<400h", *[0] * 400))
            table.append((f"{split}{n}.wav", "".join(LETTERS[clip.parent.name] for clip in some)))
        with (folder / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(table)
    return folder


def hearing(tones: Path) -> dict[str, Any]:
    """The plain data of a recipe that tells tones apart."""
    data = seeing(tones)
    own = {"data": {"kind": "sounds", "path": str(tones)}, "task": {"kind": "hear", "features": {"mels": 8}}}
    model = {**data["model"], "embedding": "frames", "positions": "sinusoidal"}
    return {**data, **own, "model": model, "batch": {"batch_tokens": 64, "max_length": 40}}


def dictating(joined: Path) -> dict[str, Any]:
    """The plain data of a recipe that writes what is said."""
    data = hearing(joined)
    own = {
        "data": {"kind": "transcripts", "path": str(joined)},
        "task": {"kind": "transcribe", "decoder": True, "features": {"mels": 8}},
    }
    model = {**data["model"], "kind": "listener", "residual": {"kind": "pre-norm", "dropout": 0.1}}
    more = {"tokenizer": {"kind": "char"}, "generate": {"max_new_tokens": 8}}
    return {**data, **own, **more, "model": model, "batch": {"batch_tokens": 400, "max_length": 80}}


@pytest.fixture(scope="session")
def tiny(texts: Path, photos: Path, tones: Path, joined: Path) -> Tiny:
    """tiny("translation" | "language" | "see" | "hear", {"train.max_steps": 3, ...}) -> plain data of a recipe."""

    def make(task: str = "translation", over: dict[str, Any] | None = None) -> dict[str, Any]:
        if task in ("see", "hear", "match", "caption", "illustrate", "dictate"):
            of_pictures = {"see": seeing, "match": matching, "caption": captioning, "illustrate": illustrating}
            of_sounds = {"hear": lambda: hearing(tones), "dictate": lambda: dictating(joined)}
            data = of_sounds[task]() if task in of_sounds else of_pictures[task](photos)
            for key, value in (over or {}).items():
                override(data, key, value)
            return data
        translation = task == "translation"
        data: dict[str, Any] = {
            "name": "tiny",
            "data": {"kind": "parallel", "path": str(texts), "source": "src", "target": "tgt"}
            if translation
            else {"kind": "text", "path": str(texts), "unit": "line"},
            "tokenizer": {"kind": "char"},
            "model": {
                "kind": "encoder-decoder" if translation else "decoder",
                "width": 16, "layers": 1, "mixer": {"kind": "attention", "heads": 2},
                "feedforward": {"kind": "mlp", "hidden": 24}, "residual": {"kind": "pre-norm", "dropout": 0.1},
            },
            "objective": {"kind": "translation" if translation else "next-token"},
            "batch": {"batch_tokens": 192, "max_length": 24},
            "optimizer": {"kind": "adamw", "learning_rate": 0.01},
            "schedule": {"kind": "inverse-sqrt", "warmup_steps": 5},
            "train": {
                "max_steps": 12, "validate_every": 4, "log_every": 2, "keep": 2, "samples": 4,
                "device": "cpu", "seed": 3, "precision": "fp32",
            },
            "generate": {"max_new_tokens": 8},
        }  # fmt: skip
        for key, value in (over or {}).items():
            override(data, key, value)
        return data

    return make


@pytest.fixture(scope="session")
def recipe(tiny: Tiny) -> Callable[..., Recipe]:
    """The same as a Recipe."""

    def make(task: str = "translation", over: dict[str, Any] | None = None) -> Recipe:
        return from_data(Recipe, tiny(task, over))

    return make


class Batches(Loader):
    """A loader that gives the same batches over and over, and nothing else."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def size(self, epoch: int) -> int:
        return len(self.batches)

    def stream(self, cursor: Cursor = START, skip: frozenset[Cursor] = frozenset()) -> Iterator[tuple[Cursor, Batch]]:
        for n in itertools.count(cursor.index):
            if (place := Cursor(0, n)) not in skip:
                yield place, self.batches[n % len(self.batches)]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """session(recipe, batches=..., optimizers=...) -> a Session in a new directory, ready for loop.train."""
    with ExitStack() as stack:

        def make(recipe: Recipe, batches: list[Batch] | None = None, sgd: float | None = None) -> Session:
            recipe = recipe.resolve()
            run = stack.enter_context(claim(recipe, Path(tempfile.mkdtemp(dir=tmp_path))))
            stack.enter_context(torch.random.fork_rng([]))  # pyright: ignore[reportUnknownArgumentType]
            report, display = stack.enter_context(Report(run.path)), Display("test", 1, quiet=True)
            job = training.build(run, recipe, torch.device("cpu"))
            if batches is not None:
                job = replace(job, loader=Batches(batches))  # type: ignore[arg-type]
            optimizers: list[Any] = [*recipe.optimizer.build(job.model)]
            if sgd is not None:
                optimizers = [torch.optim.SGD([{"params": list(job.model.parameters()), "peak": sgd}], lr=sgd)]
            average = None if recipe.train.ema is None else Average(job.model, recipe.train.ema)
            moving = Moving(
                job.model,
                optimizers,
                average,
                torch.device("cpu"),
                Carried(job.model),
                Tuning(recipe.tune, job.model, optimizers),
            )
            return Session(job, moving, run, report, display)

        yield make
