"""Which of two answers is better: asked, kept on the disk, and gone on with."""

import json
from pathlib import Path

import pytest

from transduce.data.chats import Chats
from transduce.tasks.prefer import PreferConfig


@pytest.fixture
def asked(talk: Path, cli, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("red?\n\ndog?\nred?\n")

    def ask(typed: str, *more: str):
        return cli("label", talk, tmp_path / "prompts.txt", "--out", tmp_path / "a.jsonl", *more, stdin=typed.encode())

    return ask


def test_choices_are_kept_and_gone_on_with(asked, tmp_path: Path) -> None:
    first = asked("what\n1\nq\n")
    assert first.code == 0, first.err
    assert first.out == ""
    assert first.err.count("1 or 2: that one is better") == 2, "what is no choice is answered with the choices"
    one, two = [line[5:] for line in first.err.splitlines() if line.startswith(("  1  ", "  2  "))][:2]
    row = json.loads((tmp_path / "a.jsonl").read_text("utf-8"))
    assert row == {"prompt": "red?", "chosen": one, "rejected": two}
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"prompt": "dog?", "cho')  # killed while it was written
    rest = asked("=\n2\n", "--json")
    assert "2/3 dog?" in rest.err
    assert "3/3 red?" in rest.err, "the second red? is another question than the first"
    assert [json.loads(line)["prompt"] for line in rest.out.splitlines()] == ["red?"]
    columns = Chats(path=str(tmp_path / "a.jsonl"), valid_fraction=0.0).load(PreferConfig.reads)["train"]
    assert len(columns["chosen"]) == 2
    assert "2/3 dog?" in asked("").err, "what nobody chose is asked again"


def test_the_choice_is_on_the_disk_before_the_next_question(asked, tmp_path: Path, monkeypatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(handle))
    assert asked("1\n1\n").code == 0
    assert len(synced) == 2


def test_what_is_refused(asked, letters: Path, cli, tmp_path: Path) -> None:
    assert "gives the same answer twice" in asked("", "--temperature", "0").err
    (tmp_path / "a.jsonl").write_text("[1]\n")
    assert "holds something else than pairs" in asked("").err
    assert cli("label", letters, tmp_path / "prompts.txt", stdin=b"1\n").code == 2
