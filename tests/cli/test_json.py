"""Every command that prints results prints them with --json too: one document, or one object per line, and no more."""

import json
import re
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import typer

from transduce.catalogue import ledger
from transduce.cli.documents import plain
from transduce.cli.main import app, main
from transduce.inspect import combinations

from .conftest import DATES, SMALL
from .test_sweep import commands

# The words behind each command, and the keys that must be there. DATES and LETTERS: runs; ENCODER: a sentence encoder.
DOCUMENTS: dict[str, tuple[list[str], set[str]]] = {
    "train": ([*DATES, "name=mine"], {"summary", "config", "result"}),
    "evaluate": (["DATES", "--split", "valid"], {"run", "checkpoint", "split", "loss", "count", "samples"}),
    "plan": ([*DATES, "--no-probe"], {"name", "device", "parameters", "forward_flops", "batches", "seconds", "probe"}),
    "lr-find": ([*DATES, "--updates", "20"], {"rates", "losses", "smooth", "own", "suggestion", "plot"}),
    "doctor": ([*DATES], {"splits", "overlap", "vocab_size", "padding", "preview", "advice"}),
    "prepare": ([*DATES, "out=shards"], {"path", "splits", "vocab_size", "bytes", "shards"}),
    "explain": (["model.mixer"], {"name", "type", "default", "choices", "description", "kinds", "keys"}),
    "reproduce": (["ls"], {"name", "claim", "verdict", "marks", "older"}),
    "average": (["LABELS", "SAME"], {"path", "rows", "unmeasured"}),
    "quantise": (["DATES", "--lines", "4"], {"path", "certificate"}),
    "inspect": (["DATES", "3 May"], {"name", "kind", "rows", "columns", "weights"}),
    "parity": (["DATES", "DATES"], {"name", "largest", "scale", "near"}),
    "runs ls": ([".."], {"name", "state", "valid_loss", "minutes"}),
    "runs show": (["DATES"], {"summary", "config", "data", "result", "checkpoints", "bytes"}),
    "runs compare": (["DATES", "LETTERS"], {"runs", "results", "differences", "plot"}),
    "runs rm": (["DATES", "--yes"], {"removed"}),
    "recipes ls": ([], {"recipes", "architectures"}),
    "recipes show": (["dates"], {"data", "model", "tokenizer"}),
    "recipes cp": (["dates"], {"path"}),
    "parts": ([], {"key", "kind", "formula", "flops"}),
    "parts ls": ([], {"key", "kind", "formula", "flops"}),
    "parts show": (["delta"], {"key", "kind", "formula", "options", "limits"}),
    "parts check": ([], {"encoder", "cross", "decoder", "deviation", "refusal"}),
    "catalogue ls": (["bert"], {"id", "family", "parameters"}),
    "catalogue show": (["bert-base"], {"id", "shape", "ancestors", "parameters"}),
    "catalogue params": (["gpt-2-124m"], {"id", "parameters", "parts", "training_bytes"}),
    "catalogue counts": ([], {"id", "parameters", "deviation"}),
    "catalogue tree": (["gpt"], {"label", "ids", "children"}),
    "catalogue diff": (["gpt", "bert-base"], {"first", "second", "differences"}),
    "tokenizer train": (["text.txt", "--kind", "char"], {"path", "kind", "vocab_size"}),
    "export": (["TODAY", "out"], {"path", "certificate"}),
    "import": (["EXPORTED", "in"], {"path", "certificate"}),
}
LINES: dict[str, tuple[list[str], set[str]]] = {
    "translate": (["DATES", "3 May", "4 May"], {"source", "text", "log_p", "tokens", "log_p_per_token"}),
    "generate": (["LETTERS", "the", "--samples", "2", "--max-new-tokens", "3"], {"prompt", "text", "log_p"}),
    "chat": (["TALK"], {"prompt", "text"}),
    "label": (["TALK", "text.txt"], {"prompt", "chosen", "rejected"}),
    "impute": (["LETTERS", "the brown fox", "a"], {"text", "restored", "word", "gap", "probability"}),
    "score": (["DATES"], {"source", "target", "log_p", "tokens", "log_p_per_token"}),
    "predict": (["DATES", "3 May", "4 May"], {"input", "prediction"}),
    "classify": (["LABELS", "red", "blue"], {"text", "label", "probability", "probabilities"}),
    "answer": (["ANSWERS", "red?", "dog?", "--context", "red dog 7"], {"question", "text", "probability", "start"}),
    "regress": (["GRADES", "red dog", "dog"], {"text", "number"}),
    "rank": (["ORDER", "red?", "dog?", "--passages", "text.txt"], {"question", "passages"}),
    "tag": (["TAGS", "red dog", "blue"], {"text", "words", "tags", "probabilities", "entities"}),
    "draw": (["RING", "--count", "2", "--steps", "2"], {"given", "number", "drawn"}),
    "transcribe": (["SPOKEN", "TONE", "TONE"], {"sound", "text", "log_p"}),
    "caption": (["DESCRIBED", "PHOTO", "PHOTO"], {"image", "text", "log_p", "tokens", "log_p_per_token"}),
    "embed": (["ENCODER", "a", "b"], {"text", "vector"}),
    "act": (["ACTS", "--episodes", "2"], {"episode", "asked", "return", "steps", "reached"}),
    "tokenizer show": (["DATES"], {"text", "tokens", "ids"}),
}
IS_JSON = {"recipes schema"}
ANSWERS = {"serve"}  # over HTTP, and prints nothing that a program reads


def leaf(name: str) -> Any:
    command = typer.main.get_command(app)
    for word in name.split():
        command = command.commands[word]  # type: ignore[attr-defined]
    return command  # pyright: ignore[reportUnknownVariableType]


def test_every_command_has_it_and_is_tried_below() -> None:
    every = set(commands(typer.main.get_command(app)))
    assert every == {*DOCUMENTS, *LINES, *IS_JSON, *ANSWERS}
    for name in every - IS_JSON - ANSWERS:
        option = [one for one in leaf(name).params if "--json" in one.opts]
        assert option, name
        assert re.match(r"Print (one JSON document|a JSON object per line) instead: \w", option[0].help), name


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model that a class of transformers expresses."""
    out = tmp_path_factory.mktemp("runs")
    (out / "text.txt").write_text("the quick brown fox\n" * 200)
    words = ["shakespeare", f"data.path={out / 'text.txt'}", "batch.max_length=16", "model=today", *SMALL]
    assert main(["train", *words, "model.mixer.kv_heads=1", "name=today", "--out", str(out), "--quiet"]) == 0
    return out / "today"


@pytest.fixture
def words(cli: Any, dates: Path, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Any:
    """Puts paths in the place of capitals."""

    places = {"DATES": tmp_path / "runs" / "dates", "LETTERS": tmp_path / "runs" / "letters"}
    for source, place in zip((dates, letters), places.values(), strict=True):
        shutil.copytree(source, place, symlinks=True)
    (tmp_path / "text.txt").write_text("abc\n" * 9)
    (tmp_path / "runs" / "in").mkdir()
    monkeypatch.setattr(
        ledger, "lines", lambda: map(ledger.line, [ledger.catalogue()["gpt"], ledger.catalogue()["bert-base"]])
    )
    refusal = ("a", "b", "c", "it cannot")
    monkeypatch.setattr(combinations, "matrix", lambda: iter([("a", "b", "c", 1e-13), refusal]))

    def fill(given: list[str]) -> list[str]:
        if "ENCODER" in given:
            places["ENCODER"] = request.getfixturevalue("encoder")
        for name in {
            "LABELS",
            "TAGS",
            "TALK",
            "ANSWERS",
            "GRADES",
            "ORDER",
            "ACTS",
            "RING",
            "SPOKEN",
            "DESCRIBED",
        } & set(given):
            places[name] = request.getfixturevalue(name.lower())
        if "SAME" in given:
            places["SAME"] = shutil.copytree(request.getfixturevalue("labels"), tmp_path / "same", symlinks=True)
        if "PHOTO" in given:
            places["PHOTO"] = request.getfixturevalue("photos") / "valid" / "red" / "0.png"
        if "TONE" in given:
            places["TONE"] = request.getfixturevalue("tones") / "valid" / "low" / "0.wav"
        if "TODAY" in given:
            places["TODAY"] = request.getfixturevalue("today")
        if "EXPORTED" in given:
            assert cli("export", request.getfixturevalue("today"), tmp_path / "exported").code == 0
            places["EXPORTED"] = tmp_path / "exported"
        monkeypatch.chdir(tmp_path / "runs" / "in")
        (tmp_path / "runs" / "in" / "text.txt").write_text("abc\n" * 9)
        return [str(places.get(word, word)) for word in given]

    return fill


@pytest.mark.parametrize("name", DOCUMENTS)
def test_one_document_and_nothing_else(cli: Any, words: Any, name: str) -> None:
    given, keys = DOCUMENTS[name]
    found = cli(*name.split(), *words(given), "--json")
    assert found.code == 0, found.err
    parsed: Any = json.loads(found.out, parse_constant=pytest.fail)
    some = cast("list[Any]", parsed if isinstance(parsed, list) else [parsed])
    for one in some:
        assert keys <= one.keys()
    assert parsed


@pytest.mark.parametrize("name", LINES)
def test_one_object_per_line_and_nothing_else(cli: Any, words: Any, name: str) -> None:
    given, keys = LINES[name]
    stdin = {
        "chat": "a\nb\n",
        "label": "1\n2\n",
        "score": "3 May\t2021-05-03\n4 May\t2021-05-04\n",
        "tokenizer show": "3 May\nä\n",
    }.get(name, "")
    found = cli(*name.split(), *words(given), "--json", stdin=stdin.encode())
    assert found.code == 0, found.err
    rows = [json.loads(line, parse_constant=pytest.fail) for line in found.out.splitlines()]
    assert len(rows) == 2
    assert all(keys <= row.keys() for row in rows)


def test_scores_are_the_same_in_both_forms(cli: Any, dates: Path) -> None:
    lines = b"3 May\t2021-05-03\n4 May\t2021-05-04\n"
    table = [line.split("\t") for line in cli("score", dates, stdin=lines).out.splitlines()]
    rows = [json.loads(line) for line in cli("score", dates, "--json", stdin=lines).out.splitlines()]
    assert [f"{row['log_p']:.6f}" for row in rows] == [cells[0] for cells in table]
    assert [[row["source"], row["target"]] for row in rows] == [cells[3:] for cells in table]


def test_the_schema_is_json(cli: Any) -> None:
    assert "$defs" in json.loads(cli("recipes", "schema").out)


def test_an_error_prints_no_document(cli: Any, tmp_path: Path) -> None:
    found = cli("runs", "ls", "nowhere", "--json")
    assert (found.code, found.out) == (2, "")


def test_what_json_lacks_has_a_stand_in() -> None:
    assert plain({("a", 1): [float("nan"), float("inf"), 1.5, True, None, Path("a/b")]}) == {
        "('a', 1)": [None, None, 1.5, True, None, "a/b"]
    }
