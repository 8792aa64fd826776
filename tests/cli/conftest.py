"""The command line inside the test process, and small trained runs to use it on."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from transduce.cli.main import main

SMALL = (
    "model.width=16", "model.layers=1", "model.mixer.heads=2", "model.feedforward.hidden=32", "batch.batch_tokens=512",
    "train.max_steps=4", "train.validate_every=2", "train.samples=4", "schedule.warmup_steps=2", "train.threads=1",
    "train.precision=fp32",
)  # fmt: skip
DATES = ("dates", "data.train_size=200", "data.valid_size=8", "data.test_size=8", *SMALL)


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """cli("train", ..., stdin=b"...") in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = main([str(word) for word in words])
        found = capsys.readouterr()
        return Result(code, found.out, found.err)

    return run


@pytest.fixture(scope="session")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the default recipe, very small and hardly trained."""
    out = tmp_path_factory.mktemp("runs")
    assert main(["train", *DATES, "--out", str(out), "--quiet"]) == 0
    return out / "dates"


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A character language model, very small, of a stream of text."""
    out = tmp_path_factory.mktemp("runs")
    text = out / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 200, "utf-8")
    words = ("shakespeare", f"data.path={text}", "batch.max_length=32", "name=letters", *SMALL)
    assert main(["train", *words, "--out", str(out), "--quiet"]) == 0
    return out / "letters"


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an encoder, very small."""
    out = tmp_path_factory.mktemp("runs")
    (out / "text.txt").write_text("".join(f"red dog {n}\n" for n in range(40)))
    words = [f"data.path={out / 'text.txt'}", "data.unit=line", "tokenizer=char", "model.kind=encoder"]
    more = ["objective.kind=masked-lm", "batch.packing=false", "name=encoder"]
    assert main(["train", "text", *words, *SMALL, *more, "--out", str(out), "--quiet"]) == 0
    return out / "encoder"


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of conversations, very small."""
    out = tmp_path_factory.mktemp("runs")
    rows = (f'{{"prompt": "red dog {n}?", "completion": "äö 字 {n}"}}' for n in range(40))
    (out / "talk.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    words = [f"data.path={out / 'talk.jsonl'}", "tokenizer=char", "name=talk", "generate.max_new_tokens=6"]
    assert main(["train", "sft", *words, *SMALL, "--out", str(out), "--quiet"]) == 0
    return out / "talk"


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tells labels, very small."""
    out = tmp_path_factory.mktemp("runs")
    (out / "table.tsv").write_text("".join(f"{'odd' if n % 2 else 'even'}\tred dog {n}\n" for n in range(40)))
    words = [f"data.path={out / 'table.tsv'}", "tokenizer=char", "name=labels", "train.ema=null"]
    assert main(["train", "classify", *words, *SMALL, "--out", str(out), "--quiet"]) == 0
    return out / "labels"


@pytest.fixture(scope="session")
def tags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tags words, very small."""
    out = tmp_path_factory.mktemp("runs")
    (out / "train.conll").write_text("".join(f"red\tO\ndog{n}\tB-x\n\n" for n in range(40)))
    words = [f"data.path={out / 'train.conll'}", "tokenizer=char", "name=tags", "train.ema=null"]
    assert main(["train", "tag", *words, *SMALL, "--out", str(out), "--quiet"]) == 0
    return out / "tags"


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that answers questions, very small."""
    out = tmp_path_factory.mktemp("runs")
    rows = [json.dumps({"context": f"red dog {n}", "question": "who?", "answers": str(n)}) for n in range(40)]
    (out / "train.jsonl").write_text("\n".join(rows) + "\n")
    words = [f"data.path={out / 'train.jsonl'}", "tokenizer=char", "name=answers"]
    assert main(["train", "answer", *words, *SMALL, "--out", str(out), "--quiet"]) == 0
    return out / "answers"


@pytest.fixture(scope="session")
def grades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that gives numbers, very small."""
    out = tmp_path_factory.mktemp("runs")
    (out / "train.tsv").write_text("text\tnumber\n" + "".join(f"red dog {n}\t{n}\n" for n in range(40)))
    words = [f"data.path={out / 'train.tsv'}", "tokenizer=char", "name=grades", "train.ema=null"]
    assert main(["train", "regress", *words, *SMALL, "--out", str(out), "--quiet"]) == 0
    return out / "grades"


@pytest.fixture(scope="session")
def order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ranks passages, very small."""
    out = tmp_path_factory.mktemp("runs")
    rows = "".join(f"dog {n}?\tred dog {n}\n" for n in range(40))
    (out / "train.tsv").write_text("question\tpassage\n" + rows)
    words = [f"data.path={out / 'train.tsv'}", "tokenizer=char", "name=order", "train.ema=null"]
    assert main(["train", "rank", *words, *SMALL, "--out", str(out), "--quiet"]) == 0
    return out / "order"


@pytest.fixture(scope="session")
def acts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that acts, very small."""
    out = tmp_path_factory.mktemp("runs")
    words = ["world=graph", "data.world.episodes=40", "name=acts", "batch.max_length=60", "batch.batch_tokens=600"]
    assert main(["train", "act", *SMALL, *words, "--out", str(out), "--quiet"]) == 0
    return out / "acts"


@pytest.fixture(scope="session")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that plans, very small."""
    out = tmp_path_factory.mktemp("runs")
    words = [
        "world=graph",
        "data.world.episodes=40",
        "name=plans",
        "task.horizon=2",
        "task.beam_size=2",
        "batch.max_length=160",
    ]
    assert main(["train", "plan", *SMALL, *words, "--out", str(out), "--quiet"]) == 0
    return out / "plans"


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that draws points, very small."""
    out = tmp_path_factory.mktemp("runs")
    words = ["data.train_size=200", "data.valid_size=40", "model.process.steps=10", "task.steps=4", "model.width=16"]
    more = ["model.feedforward.hidden=16", "train.max_steps=4", "train.validate_every=2", "train.threads=1",
            "schedule.warmup_steps=1"]  # fmt: skip
    assert main(["train", "ring", *words, *more, "--out", str(out), "--quiet"]) == 0
    return out / "ring"


@pytest.fixture(scope="session")
def spoken(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that writes down what is said, very small."""
    out = tmp_path_factory.mktemp("runs")
    rows = [f"{path},ä {path.parent.name}" for path in sorted((tones / "train").glob("*/*.wav"))]
    (out / "train.csv").write_text("\n".join(["sound,text", *rows]) + "\n", "utf-8")
    words = [f"data.path={out}", "tokenizer=char", "name=spoken", "train.ema=null", "batch.max_length=64"]
    assert main(["train", "transcribe", *words, *SMALL, "--out", str(out), "--quiet"]) == 0
    return out / "spoken"


MATCHING = {
    "model.width": 16, "model.layers": 1, "model.text_layers": 1, "model.mixer.heads": 2, "model.embedding.patch": 2,
    "model.residual.dropout": 0.0, "batch.batch_tokens": 16, "batch.max_length": 8, "schedule.warmup_steps": 2,
    "train.max_steps": 40, "train.validate_every": 40, "train.ema": "null", "train.threads": 1, "train.device": "cpu",
    "optimizer.learning_rate": 0.01, "objective.both_ways": "true",
}  # fmt: skip


@pytest.fixture(scope="session")
def captioned(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of pictures of three colours, of which many have the same caption."""
    folder = tmp_path_factory.mktemp("captions")
    for split in ("train", "valid"):
        rows = [f"{path},a {path.parent.name} one" for path in sorted((photos / split).glob("*/*.png"))]
        (folder / f"{split}.csv").write_text("\n".join(["image,caption", *rows]) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="session")
def described(captioned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that writes what pictures show, very small."""
    out = tmp_path_factory.mktemp("runs")
    words = [f"data.path={captioned}", "name=described", "model.encoder_layers=1", "model.decoder_layers=1",
             "model.embedding.patch=2", "train.ema=null", "generate.max_new_tokens=5"]  # fmt: skip
    small = [word for word in SMALL if not word.startswith("model.layers")]
    assert main(["train", "caption", *words, *small, "--out", str(out), "--quiet"]) == 0
    return out / "described"


@pytest.fixture(scope="session")
def matched(captioned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of pictures and captions, small, which knows three colours."""
    out = tmp_path_factory.mktemp("runs")
    words = [f"data.path={captioned}", "name=matched", *(f"{key}={value}" for key, value in MATCHING.items())]
    assert main(["train", "match", *words, "--out", str(out), "--quiet"]) == 0
    return out / "matched"
