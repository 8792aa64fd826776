"""What is printed on any standard output: the right text, or one sentence; never a traceback, and no lost training.

The commands are those of the application: a new one must be told here how it is called.
"""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from transduce.cli.main import app, main
from transduce.runs.run import Run
from transduce.screen import STAND_IN

from .conftest import SMALL

LETTERS = "äöü字é"


def leaves(command: object, name: str = "") -> Iterator[str]:
    """The names of all commands, such as "recipes ls"."""
    inner: dict[str, object] = getattr(command, "commands", {})
    if not inner:
        yield name.strip()
    for key, part in inner.items():
        yield from leaves(part, f"{name} {key}")


COMMANDS = sorted(leaves(typer.main.get_command(app)))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """`parts check` and `catalogue counts` take a minute for all that there is."""
    from transduce.catalogue import entry, ledger

    monkeypatch.setattr("transduce.inspect.combinations.matrix", list)
    monkeypatch.setattr(ledger, "lines", lambda: [ledger.line(entry.entry("bert-base"))])


class Runs(NamedTuple):
    pairs: Path  # whose targets are not ASCII
    stream: Path  # a language model of such text
    encoder: Path
    labels: Path  # which are not ASCII
    tags: Path
    talk: Path
    answers: Path
    grades: Path
    order: Path
    acts: Path
    ring: Path
    spoken: Path
    described: Path
    photo: Path
    tone: Path
    table: Path
    folder: Path  # of Hugging Face's form


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, talk: Path, acts: Path, ring: Path, spoken: Path, tones: Path,
    described: Path, photos: Path,
) -> Runs:  # fmt: skip
    folder = tmp_path_factory.mktemp("output")
    rows = [LETTERS[i % 5] + LETTERS[i % 3] * (1 + i % 4) for i in range(40)]
    table, text = folder / "pairs.tsv", folder / "text.txt"
    table.write_text("".join(f"{row}\t{row[::-1]}\n" for row in rows), "utf-8")
    text.write_text(" ".join(rows * 9) + "\n", "utf-8")

    def run(name: str, *words: str) -> Path:
        assert main(["train", *words, *SMALL, f"name={name}", "--out", str(folder), "--quiet"]) == 0
        return folder / name

    short = ["batch.max_length=16"]
    pairs = run("pairs", "pairs", f"data.path={table}", "tokenizer.kind=char", "generate.max_new_tokens=5")
    stream = run("stream", "shakespeare", f"data.path={text}", *short, "model=today", "model.mixer.kv_heads=1")
    encoder = run(
        "encoder",
        "shakespeare",
        f"data.path={text}",
        "batch.max_length=16",
        "objective=masked-lm",
        "model.kind=encoder",
    )
    labelled = folder / "labels.tsv"
    labelled.write_text("".join(f"{'ä' if i % 2 else 'ö'}\t{row}\n" for i, row in enumerate(rows)), "utf-8")
    columns = ["data.columns.label=0", "data.columns.text=1", "train.ema=null"]
    labels = run("labels", "classify", f"data.path={labelled}", "tokenizer.kind=char", *columns)
    marked = "".join(f"{row}\t{'ä' if i % 2 else 'ö'}\n\n" for i, row in enumerate(rows))
    (folder / "tags.conll").write_text(marked, "utf-8")
    tags = run("tags", "tag", f"data.path={folder / 'tags.conll'}", "tokenizer.kind=char", "train.ema=null")
    facts = [{"context": row, "question": "?", "answers": row} for row in rows]
    (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
    short, plain_table = ["tokenizer.kind=char", "train.ema=null"], folder / "grades.tsv"
    plain_table.write_text("text\tnumber\n" + "".join(f"{row}\t{i}\n" for i, row in enumerate(rows)), "utf-8")
    grades = run("grades", "regress", f"data.path={plain_table}", *short)
    order = run("order", "rank", f"data.path={table}", "data.columns.question=0", "data.columns.passage=1", *short)
    answers = run("answers", "answer", f"data.path={folder / 'facts.json'}", "tokenizer.kind=char")
    assert main(["export", str(stream), str(folder / "exported")]) == 0
    tone, exported = tones / "valid" / "low" / "0.wav", folder / "exported"
    photo = photos / "valid" / "red" / "0.png"
    return Runs(
        pairs, stream, encoder, labels, tags, talk, answers, grades, order, acts, ring, spoken, described, photo,
        tone, table, exported,
    )  # fmt: skip


def words_of(runs: Runs) -> dict[str, list[str]]:
    """How each command is called so that it prints as much as it can."""
    text = "äö 字"
    return {
        "train": ["pairs", f"data.path={runs.table}", "tokenizer.kind=char", *SMALL],
        "evaluate": [str(runs.pairs)],
        "translate": [str(runs.pairs), text, text],
        "generate": [str(runs.stream), "äö", "--max-new-tokens", "5"],
        "chat": [str(runs.talk), text],
        "score": [str(runs.pairs), str(runs.table)],
        "embed": [str(runs.encoder), text],
        "classify": [str(runs.labels), text, "--probabilities"],
        "tag": [str(runs.tags), text],
        "transcribe": [str(runs.spoken), str(runs.tone)],
        "caption": [str(runs.described), str(runs.photo)],
        "regress": [str(runs.grades), text],
        "rank": [str(runs.order), text, "--passages", str(runs.table)],
        "answer": [str(runs.answers), text, "--context", text],
        "impute": [str(runs.stream), text],
        "act": [str(runs.acts), "--episodes", "2"],
        "draw": [str(runs.ring), "--count", "2", "--steps", "2"],
        "predict": [str(runs.pairs), text],
        "plan": ["pairs", f"data.path={runs.table}", "tokenizer.kind=char", *SMALL, "--no-probe"],
        "lr-find": ["pairs", f"data.path={runs.table}", "tokenizer.kind=char", *SMALL, "--updates", "20"],
        "doctor": ["pairs", f"data.path={runs.table}", "tokenizer.kind=char", *SMALL],
        "prepare": ["pairs", f"data.path={runs.table}", "tokenizer.kind=char", "out=shards"],
        "reproduce": ["ls", "--out", "reproduced"],
        "import": [str(runs.folder), "imported"],
        "export": [str(runs.stream), "again"],
        "label": ["--help"],  # asks
        "average": ["--help"],  # takes runs of one start
        "quantise": ["--help"],  # those models are too small
        "inspect": [str(runs.pairs), text],
        "serve": ["--help"],
        "parity": [str(runs.stream), str(runs.folder), "--text", text],
        "explain": ["model.mixer"],
        "runs ls": [str(runs.pairs.parent)],
        "runs show": [str(runs.pairs)],
        "runs compare": [str(runs.pairs), str(runs.stream), "--plot", "losses.png"],
        "runs rm": ["--help"],
        "recipes ls": [],
        "recipes show": ["multi30k"],
        "recipes cp": ["dates"],
        "recipes schema": [],
        "parts ls": [],
        "parts show": ["delta"],
        "parts check": [],
        "catalogue ls": ["bert"],
        "catalogue show": ["gpt-2-124m"],
        "catalogue params": ["gpt-2-124m"],
        "catalogue counts": [],
        "catalogue tree": ["bert-base"],
        "catalogue diff": ["gpt", "bert-base"],
        "tokenizer train": [str(runs.table), "--kind", "char"],
        "tokenizer show": [str(runs.pairs), text],
    }


def test_every_command_is_here(runs: Runs) -> None:
    assert sorted(words_of(runs)) == COMMANDS


class Printed(NamedTuple):
    code: int
    out: str
    err: str


def printed(words: list[str], folder: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> Printed:
    """What a command prints on a standard output of this encoding, in an empty working directory."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    raw, err = io.BytesIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", err)
    code = main(words)
    sys.stdout.flush()
    return Printed(code, raw.getvalue().decode(encoding), err.getvalue())


def plain(text: str) -> list[str]:
    """The words of a text, without the lines of tables, times, and what a terminal may cut off."""
    return re.findall(r"[^\W\d_]{2,}", re.sub(r"\d+(\.\d+)? s\b|\S*…", "", text))


@pytest.mark.parametrize("name", COMMANDS)
def test_any_encoding_gives_the_right_text_or_a_sentence(
    name: str, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*name.split(), *words_of(runs)[name]]
    whole = printed(words, tmp_path / "utf-8", "utf-8", monkeypatch)
    assert whole.code == 0, whole.err
    for encoding in ("ascii", "latin-1"):
        found = printed(words, tmp_path / encoding, encoding, monkeypatch)
        assert "Traceback" not in found.err
        if found.code == 0:
            expected = whole.out.encode(encoding, STAND_IN).decode(encoding)
            assert plain(found.out) == plain(expected)
            if name in FOR_PROGRAMS:
                assert found.out == whole.out
        else:
            assert name in FOR_PROGRAMS
            assert whole.out.startswith(found.out)
            assert f"transduce: standard output is {encoding}, which lacks '" in found.err


FOR_PROGRAMS = {
    "translate", "generate", "chat", "score", "embed", "classify", "predict", "tag", "answer", "regress", "rank",
    "act", "transcribe", "caption", "impute", "recipes show", "recipes schema",
    "catalogue counts",
}  # fmt: skip


def test_what_programs_read_is_never_written_with_stand_ins(runs: Runs, tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("translate", "generate", "score", "embed"):
        found = printed([name, *words_of(runs)[name]], tmp_path / name, "ascii", monkeypatch)
        assert found.code == 1
        assert "?" not in found.out
        assert found.err.splitlines()[-1].startswith("transduce: standard output is ascii")


@contextmanager
def closed_pipe() -> Generator[None]:
    """Standard output is a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stream, redirect_stdout(stream):
        yield


@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_pipe_ends_no_training_and_nothing_with_a_traceback(
    name: str, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transduce.cli.show import console

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "quiet", False)  # what a broken pipe makes of it
    with closed_pipe():
        code = main([*name.split(), *words_of(runs)[name]])
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "transduce:" not in err
    assert code == (0 if name == "train" else 1)
    if name == "train":
        run = Run(tmp_path / "runs" / "pairs")
        assert run.result is not None
        assert "standard output cannot be written any more (Broken pipe)" in (run.path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("where", "trains"), [(">&- 2>&-", True), (">/dev/full", True), (">&-", False), ("2>&-", False)]
)
def test_a_stream_that_is_closed_or_full(where: str, trains: bool, runs: Runs, tmp_path: Path) -> None:
    """In a process of its own, for the interpreter looks after its streams at the beginning and at the end."""
    train = ["train", "pairs", f"data.path={runs.table}", "tokenizer.kind=char", *SMALL]
    words = train if trains else ["recipes", "show", "dates"]
    command = " ".join([sys.executable, "-m", "transduce", *(f"'{word}'" for word in words), where])
    found = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert not re.search("Traceback|Exception ignored", found.stdout + found.stderr)
    if trains:
        assert found.returncode == 0, found.stderr
        assert Run(tmp_path / "runs" / "pairs").result is not None
    elif where == ">&-":
        assert found.returncode == 2
        assert found.stderr.startswith("transduce: standard output is closed, so nobody can read")
    else:
        assert (found.returncode, found.stdout[:1]) == (0, "#")
