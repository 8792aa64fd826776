"""Folders and imported runs whose files have known hashes: no damage is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import transduce as td
from transduce import api
from transduce.errors import UserError
from transduce.exchange import certificate
from transduce.exchange.sentences import SentenceEncoder

pytest.importorskip("transformers")


def middle(content: bytes) -> bytes:
    """One bit in the middle is another."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "a bit": middle,
    "cut": lambda content: content[:-2],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"\n",
    "removed": lambda content: None,
}


@pytest.fixture(scope="module")
def run(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return api.import_model(published, tmp_path_factory.mktemp("runs") / "run").path


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    api.export(run, tmp_path_factory.mktemp("exported") / "out")
    return tmp_path_factory.getbasetemp() / "exported0/out"


def files_of(where: Path) -> list[str]:
    """Regular files, without those that are seen through a link once more."""
    files = [path for path in where.rglob("*") if path.is_file()]
    return sorted({str(path.resolve().relative_to(where.resolve())) for path in files})


def damaged(where: Path, out: Path, name: str, damage: Callable[[bytes], bytes | None]) -> Path:
    shutil.copytree(where, out, symlinks=True)
    content = damage((out / name).read_bytes())
    (out / name).unlink()
    if content is not None:
        (out / name).write_bytes(content)
    return out


def ways(out: Path) -> list[Callable[[], Any]]:
    """Everything that reads a run or a folder."""
    return [
        lambda: td.load(out, device="cpu"),
        lambda: td.load(out, device="cpu").embed(["a rose"]),
        lambda: api.export(out, out.parent / "again"),
        lambda: api.parity(out, out),
    ]


def test_what_is_whole_is_read(run: Path, exported: Path, tmp_path: Path) -> None:
    for i, where in enumerate((run, exported)):
        copy = Path(shutil.copytree(where, tmp_path / str(i) / "copy", symlinks=True))
        for way in ways(copy):
            way()


@pytest.mark.parametrize("kind", DAMAGES)
def test_no_damage_of_an_imported_run_is_read(run: Path, tmp_path: Path, kind: str) -> None:
    for i, name in enumerate(files_of(run)):
        if kind == "longer" and name == certificate.NAME:
            continue  # how JSON is laid out says nothing
        out = damaged(run, tmp_path / str(i), name, DAMAGES[kind])
        for way in ways(out):
            with pytest.raises(UserError):
                way()
    assert i > 9


@pytest.mark.parametrize("kind", DAMAGES)
def test_no_damage_of_an_exported_folder_is_read(exported: Path, tmp_path: Path, kind: str) -> None:
    names = [name for name in files_of(exported) if name != certificate.NAME or kind == "a bit"]
    for i, name in enumerate(names):
        out = damaged(exported, tmp_path / str(i), name, DAMAGES[kind])
        for way in [*ways(out), lambda out=out: SentenceEncoder.read(out)]:
            with pytest.raises(UserError):
                way()
        with pytest.raises(UserError):
            api.import_model(out, tmp_path / "run")
    assert len(names) > 4


def test_vectors_need_nothing_outside_the_run(published: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(published, tmp_path / "copy"))
    run = api.import_model(copy, tmp_path / "run").path
    expected = SentenceEncoder.read(copy).embed(["a rose"])
    shutil.rmtree(copy)
    moved = run.rename(tmp_path / "moved")
    assert (td.load(moved, device="cpu").embed(["a rose"]) == expected).all()
    (moved / "sentences/1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "max"}))
    with pytest.raises(UserError, match=r"is not the file that was written|differs|changed|sha256"):
        td.load(moved, device="cpu")


def test_a_run_that_was_trained_since_has_its_own_hashes(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "runs/run", symlinks=True))
    (tmp_path / "text.txt").write_text(
        "".join(f"a rose is {word}\n" for word in 4 * ["rose", "the", "red", "dog", "in", "snow", "and", "sun"])
    )
    changes = {
        "name": "run", "data.kind": "text", "data.path": str(tmp_path / "text.txt"), "data.unit": "line",
        "train.max_steps": 2, "train.validate_every": 1, "train.samples": 0, "train.keep": 1, "train.threads": 1,
        "batch.max_length": 16, "batch.batch_tokens": 64,
    }  # fmt: skip
    marks = copy / "tokenizer/marks.json"
    whole, damaged = marks.read_bytes(), middle(marks.read_bytes())

    def train() -> None:
        td.train(str(copy / "config.yaml"), changes, out=tmp_path / "runs", quiet=True)

    def load() -> None:
        assert td.load(copy, device="cpu").embed(["a rose"]).shape == (1, 16)

    for way in (train, load):
        marks.write_bytes(damaged)
        with pytest.raises(UserError, match="sha256"):
            way()
        marks.write_bytes(whole)
        way()
