"""`transduce runs` on real runs, on damaged ones, and on what is no run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transduce.cli import columns
from transduce.disk import open_own
from transduce.errors import UserError
from transduce.runs.comparing import draw
from transduce.runs.lock import owner, take
from transduce.runs.removing import in_use
from transduce.runs.run import Run

from .conftest import DATES


@pytest.fixture
def runs(cli, dates: Path, letters: Path, tmp_path: Path) -> Path:
    """dates and letters in runs/, beside a file, an empty directory and a link to a run elsewhere."""
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copytree(dates, folder / "dates", symlinks=True)
    shutil.copytree(letters, folder / "letters", symlinks=True)
    (folder / "notes.txt").write_text("not a run")
    (folder / "empty").mkdir()
    (folder / "linked").symlink_to(dates)
    return folder


def test_ls_lists_runs_and_nothing_else(cli, runs: Path) -> None:
    found = cli("runs", "ls")
    assert found.code == 0
    head, *lines = found.out.splitlines()
    assert head.split("  ")[0] == "name"
    assert sorted(line.split()[0] for line in lines) == ["dates", "letters", "linked"]
    parsed = json.loads(cli("runs", "ls", "runs", "--sort", "name", "--json").out)
    assert [one["name"] for one in parsed] == ["dates", "letters", "linked"]
    first = parsed[0]
    assert (first["state"], first["step"], first["max_steps"], first["problem"]) == ("finished", 4, 4, None)
    assert first["metric"] == Run(runs / "dates").result["metric"]
    line = next(line for line in Run(runs / "dates").metrics if line.get("val_loss") == first["valid_loss"])
    assert line["step"] in (2, 4)


def test_parameters_are_those_that_training_tells(cli, runs: Path) -> None:
    for one in json.loads(cli("runs", "ls", "--json").out):
        told = re.search(r": ([\d,]+) parameters", (runs / one["name"] / "log.txt").read_text())
        assert told is not None
        assert one["parameters"] == int(told[1].replace(",", ""))


def test_ls_of_nothing(cli, tmp_path: Path) -> None:
    assert cli("runs", "ls").err == (
        "transduce: there is no directory runs; `transduce train` makes a run in runs/\n"
    )  # fmt: skip
    (tmp_path / "runs").mkdir()
    found = cli("runs", "ls")
    assert (found.code, found.out) == (0, "")
    assert "there are no runs in runs" in found.err
    assert cli("runs", "ls", "--json").out == "[]\n"


def test_ls_needs_no_torch(runs: Path) -> None:
    code = (
        "import sys; from transduce.cli.main import main; assert main(['runs', 'ls']) == 0; "
        "assert not {'torch', 'numpy', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=runs.parent, check=True, timeout=60)


@pytest.mark.parametrize("file", ["config.yaml", "last/DONE", "best/model.safetensors", "result.json"])
def test_damage_is_listed_and_shown(cli, runs: Path, file: str) -> None:
    (runs / "dates" / file).write_bytes(b"{")
    assert re.search(r"^dates +damaged!", cli("runs", "ls").out, re.MULTILINE)
    shown = cli("runs", "show", "runs/dates")
    assert shown.code == 0
    assert "damaged! (" in shown.out
    parsed = json.loads(cli("runs", "show", "runs/dates", "--json").out)
    assert parsed["summary"]["problem"] is not None


def test_show_tells_the_keys_that_were_given(cli, runs: Path) -> None:
    parsed = json.loads(cli("runs", "show", "runs/dates", "--json").out)
    given = dict(word.split("=") for word in DATES[1:])
    config = {key: str(value) for key, value in parsed["config"].items()}
    missing = {key: value for key, value in given.items() if config.get(key) != value}
    assert not missing
    assert "train.save_every" not in config  # it follows from train.validate_every
    assert "schedule.steps" not in config
    assert parsed["data"]["valid"]["examples"] == 8
    assert {link for saved in parsed["checkpoints"] for link in saved["links"]} == {"best", "last"}
    files = (path for path in (runs / "dates").rglob("*") if path.is_file() and not path.is_symlink())
    names = {path.resolve() for path in files}
    assert parsed["bytes"] == sum(path.stat().st_size for path in names)
    assert "model.width=16" in cli("runs", "show", "runs/dates").out


def test_show_finds_one_changed_byte(cli, runs: Path) -> None:
    file = (runs / "dates" / "best" / "model.safetensors").resolve()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert "its sha256 differs" in cli("runs", "show", "runs/dates").out


def test_compare_tells_the_keys_that_differ_and_no_others(cli, runs: Path) -> None:
    words = [word.replace("width=16", "width=32") for word in DATES]
    assert cli("train", *words, "train.seed=3", "name=wide", "--quiet").code == 0
    found = cli("runs", "compare", "runs/dates", "runs/wide", "--json")
    parsed = json.loads(found.out)
    assert parsed["differences"] == {"model.width": [16, 32], "train.seed": [0, 3]}
    assert [one["name"] for one in parsed["runs"]] == ["dates", "wide"]
    assert parsed["plot"] == "runs/compare.png"
    assert (runs / "compare.png").read_bytes().startswith(b"\x89PNG")
    table = cli("runs", "compare", "runs/dates", "runs/wide").out
    assert re.search(r"^  model\.width +16 +32$", table, re.MULTILINE)
    assert "train.max_steps" not in table
    same = cli("runs", "compare", "runs/dates", "runs/dates")
    assert "the recipes are the same" in same.out


def test_compare_says_what_cannot_be_compared(cli, runs: Path) -> None:
    found = cli("runs", "compare", "runs/dates", "runs/letters", "--plot", "deep/in/it.svg")
    assert "! the tokenisers differ, so losses per token cannot be compared" in found.out
    edited = (runs / "dates" / "data.json").read_text().replace('"examples": 8', '"examples": 9')
    shutil.copytree(runs / "dates", runs / "other", symlinks=True)
    (runs / "other" / "data.json").write_text(edited)
    assert "! the validation data differ" in cli("runs", "compare", "runs/dates", "runs/other").out
    assert b"<svg" in Path("deep/in/it.svg").read_bytes()


def test_a_plot_needs_losses_and_a_name(cli, runs: Path, tmp_path: Path) -> None:
    (runs / "dates" / "metrics.jsonl").unlink()
    assert draw([runs / "dates"], tmp_path / "a.png") is False
    assert not (tmp_path / "a.png").exists()
    with pytest.raises(UserError, match=r"ends in \.png, \.svg or \.pdf"):
        draw([runs / "letters"], tmp_path / "a.gif")
    assert "name two runs or more" in cli("runs", "compare", "runs/dates").err


@pytest.mark.parametrize("command", ["show", "compare", "rm"])
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("runs/datse", "there is no run runs/datse; did you mean runs/dates?"),
        ("dates", "there is no run dates; did you mean runs/dates?"),
        ("nowhere/at/all", "there is no run nowhere/at/all; `transduce runs ls` lists the runs in runs/"),
        ("runs/empty", "runs/empty is not a run: it has no config.yaml"),
        ("runs/notes.txt", "runs/notes.txt is not a run: it is a file"),
        ("runs", "runs is not a run: it has no config.yaml"),
    ],
)
def test_what_is_not_a_run_is_one_sentence(cli, runs: Path, command: str, path: str, told: str) -> None:
    found = cli("runs", command, path, *(["--yes"] if command == "rm" else []))
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"transduce: {told}")
    assert found.err.count("\n") == 1


def test_rm_removes_the_run_and_nothing_a_link_leads_to(cli, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data.txt").write_text("precious")
    (runs / "dates" / "data").symlink_to(tmp_path / "precious")
    found = cli("runs", "rm", "runs/dates", "runs/dates/", "--yes")
    assert (found.code, found.out) == (0, "removed runs/dates\n")
    assert (tmp_path / "precious" / "data.txt").read_text() == "precious"
    assert sorted(path.name for path in runs.iterdir()) == ["empty", "letters", "linked", "notes.txt"]


def test_rm_refuses_all_before_it_removes_one(cli, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, told in (
        (["runs/dates", "runs/empty"], "is not a run"),
        (["runs/dates", "runs/linked"], "is a link to"),
        (["runs/dates"], "nobody can be asked here; add --yes"),
    ):
        found = cli("runs", "rm", *words, *(["--yes"] if len(words) > 1 else []))
        assert found.code == 2
        assert told in found.err
        assert (runs / "dates" / "config.yaml").exists()
    monkeypatch.chdir(runs / "dates" / "samples")
    assert "holds the directory you are in" in cli("runs", "rm", runs / "dates", "--yes").err


def test_rm_refuses_a_run_that_is_written(cli, runs: Path) -> None:
    with open_own(runs / "dates" / ".lock", "a+") as lock:
        assert take(lock)
        found = cli("runs", "rm", "runs/dates", "--yes")
        assert in_use(Path("runs/dates"), owner(runs / "dates") or "none") in found.err
    assert found.code == 2
    assert (runs / "dates" / "best" / "model.safetensors").exists()
    assert cli("runs", "rm", "runs/dates", "--yes").code == 0


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("\n", False), ("no\n", False), ("", False)])
def test_rm_asks_on_a_terminal(runs: Path, answer: str, gone: bool) -> None:
    import pty

    master, slave = pty.openpty()
    os.write(master, answer.encode() or b"\x04")
    command = [sys.executable, "-m", "transduce", "runs", "rm", "runs/dates"]
    found = subprocess.run(
        command, stdin=slave, capture_output=True, text=True, cwd=runs.parent, check=False, timeout=60
    )
    os.close(master)
    os.close(slave)
    assert "remove runs/dates? [y/N] " in found.stderr
    assert found.returncode == (0 if gone else 2)
    assert (runs / "dates").exists() != gone


def test_columns_fit_every_terminal() -> None:
    rows = [("name", "state", "a", "b", "c"), ("x" * 50, "finished", "1,000,000", "loss 2.0", "yesterday")]
    for width in range(30, 140, 7):
        assert all(len(line) <= width for line in columns.aligned(rows, width, (4, 3, 2)))
    for width in range(70, 140, 7):
        lines = columns.side_by_side(rows, width)
        assert all(len(line) <= width for line in lines)
        assert all(sum(cell in line for line in lines) == 1 for cell in ("1,000,000", "loss 2.0", "yesterday"))
    assert columns.aligned(rows, 200, (4, 3, 2))[1].endswith("yesterday")
    assert not columns.aligned(rows, 40, (4, 3, 2))[1].endswith("yesterday")
    assert max(map(len, columns.side_by_side(rows))) > 80


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (0, "0"), (999, "999"), (1000, "1K"), (999_700, "1M"), (994_560, "995K"), (124_439_808, "124M")],
)
def test_short_counts(count: int | None, text: str) -> None:
    assert columns.short(count) == text
