"""`transduce reproduce`: what it writes, does again, and refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from transduce.cli.main import main
from transduce.reproduce.experiment import named, names
from transduce.reproduce.page import page
from transduce.reproduce.store import Store


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["reproduce", *words])
    return code, *capsys.readouterr()


def test_a_run_writes_results_a_picture_and_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "sigma-pi", "--threads", "1")
    assert code == 0
    assert "sigma-pi: held at once" in out
    folder = Path("runs/reproductions")
    result = json.loads((folder / "sigma-pi" / "seed-2.json").read_text())
    assert result["threads"] == 1
    assert result["settings"] == {"kind": "sigma-pi", "most": 6}
    assert {"python", "torch", "transduce"} <= set(result["versions"])
    assert (folder / "sigma-pi.png").read_bytes().startswith(b"\x89PNG")
    told = Path("runs/reproductions.md").read_text()
    assert "| parity of 3, sigma-pi | 1 | = 1 in every seed | yes |" in told
    assert "Verdict: **held at once** (seeds 0, 1, 2; " in told
    assert ". Of the code that is there." in told
    assert "![sigma-pi](reproductions/sigma-pi.png)" in told
    assert told.count("**not run**") == 2 * (len(names()) - 1)
    assert f"Of {len(names())} claims: 1 held at once, {len(names()) - 1} not run. All results are of the" in told


@pytest.mark.parametrize("name", ["sigma-pi", "ls", "page", "no-such"])
def test_threads_are_as_before_when_it_ends(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    run(capsys, name, "--seeds", "0", "--threads", str(before + 1))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["sigma-pi", "all"])
def test_many_more_threads_than_processors_are_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, name, "--threads", "100000")
    assert (code, out) == (2, "")
    assert err.startswith("transduce: --threads 100000, but this machine has ")
    assert len(err.splitlines()) == 1


def test_what_was_measured_is_not_measured_again(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "sigma-pi", "--seeds", "0,1")
    code, out, _ = run(capsys, "sigma-pi")
    assert code == 0
    assert [line for line in out.splitlines() if "measured in" in line] == [
        line for line in out.splitlines() if line.startswith("sigma-pi: seed 2")
    ]
    assert run(capsys, "sigma-pi", "--force")[1].count("measured in") == 3
    path = Path("runs/reproductions/sigma-pi/seed-1.json")
    path.write_text(path.read_text()[:40])  # half a file: the machine was switched off
    assert run(capsys, "sigma-pi")[1].count("measured in") == 1


def test_what_was_measured_by_other_code_is_measured_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "sigma-pi")
    path = Path("runs/reproductions/sigma-pi/seed-1.json")
    result = json.loads(path.read_text())
    result["code"]["transduce.reproduce.experiments.sigma_pi"]["digest"] = "another"
    path.write_text(json.dumps(result))
    code, out, _ = run(capsys, "ls")
    assert "Older than the code: reproduce/experiments/sigma_pi.py changed since." in out
    assert out.splitlines()[-1].endswith("The results of 1 are older than the code.")
    run(capsys, "page")
    told = Path("runs/reproductions.md").read_text()
    assert "| **held at once**, older than the code |" in told
    assert "Older than the code: reproduce/experiments/sigma_pi.py changed since." in told
    code, out, _ = run(capsys, "sigma-pi")
    assert code == 0
    assert next(line for line in out.splitlines() if "measured" in line).startswith("sigma-pi: seed 1 measured in")
    assert out.count("measured in") == 1
    assert "again: reproduce/experiments/sigma_pi.py changed since" in out
    assert "Older" not in run(capsys, "ls")[1]


def test_the_page_is_written_without_measuring(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "page")
    assert (code, out) == (0, "")
    assert "**not run**" in Path("runs/reproductions.md").read_text()


def test_changed_settings_are_measured_elsewhere(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "sigma-pi", "most=4")
    assert code == 2
    assert "give --out DIR" in err
    code, _, _ = run(capsys, "sigma-pi", "most=4", "--out", str(tmp_path / "try"))
    assert code == 0
    assert json.loads((tmp_path / "try/sigma-pi/seed-0.json").read_text())["settings"]["most"] == 4
    code, out, _ = run(capsys, "sigma-pi", "--out", str(tmp_path / "try"))
    assert out.count("measured in") == 3, "results of other settings are no results of these"


def test_ls_tells_the_last_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "sigma-pi")
    code, out, _ = run(capsys, "ls")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:-1]] == names()
    assert [line.split()[1:4] for line in out.splitlines() if line.startswith("sigma-pi ")] == [["held", "at", "once"]]
    assert out.splitlines()[-1].startswith(f"Of {len(names())} claims: 1 held at once, ")
    assert all(named(name).claim in out for name in names())


def test_all_goes_on_after_what_cannot_be_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transduce.reproduce.experiment.names", lambda: ["gru-and-lstm", "sigma-pi"])
    code, out, _ = run(capsys, "all")
    assert "gru-and-lstm: not run: this experiment reads a text; give --data DIR" in out
    assert "sigma-pi: held at once" in out
    assert code == 0

    def broken(self: object, seed: int) -> None:
        raise TypeError("a fault of ours")

    monkeypatch.setattr("transduce.reproduce.experiment.names", lambda: ["gru-and-lstm", "batch-mates", "sigma-pi"])
    monkeypatch.setattr(named("batch-mates"), "run", broken)
    code, out, err = run(capsys, "all", "--force")
    assert code == 1
    assert "a fault of ours" in err
    assert "sigma-pi: held at once" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sigmapi"], "did you mean sigma-pi?"),
        (["sigma-pi", "--seeds", "0,7"], "sigma-pi has the seeds 0,1,2; name some"),
        (["sigma-pi", "--seeds", "x"], "sigma-pi has the seeds 0,1,2; name some"),
        (["sigma-pi", "--threads", "0"], "--threads 0 must be at least 1"),
        (["sigma-pi", "mots=4", "--out", "o"], "did you mean `sigma-pi.most`?"),
        (["gru-and-lstm"], "give --data DIR"),
        (["all", "most=4"], "name one experiment"),
    ],
)
def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    code, _, err = run(capsys, *words)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1


def test_the_page_is_made_of_results_alone(tmp_path: Path) -> None:
    store, experiment = Store(tmp_path), named("sigma-pi")()
    empty = page(store, [experiment])
    assert "about 0.1" in empty
    store.measure(experiment, 0, None)
    assert "**incomplete** (seeds 0 of the 3 it needs; " in page(store, [experiment])
    assert page(store, [experiment]) == page(store, [experiment])
    assert page(store, [replace(experiment, most=5)]) == empty
