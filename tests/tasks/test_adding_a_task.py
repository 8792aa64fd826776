"""The task of the page on how to add one lives in another package, and learns, resumes, predicts and is missed."""

import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import transduce as td
from transduce.cli.main import main
from transduce.config.part import kinds, packages
from transduce.errors import UserError
from transduce.testing.heads import WIDTH, built, laws_of
from transduce.testing.tasks import LAWS, Case, case

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-task.md"
QUICK = {"train.device": "cpu", "train.precision": "fp32", "train.threads": 1}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def install(site: Path) -> None:
    """Does what pip does with the module and the pyproject.toml of the page."""
    (site / "tides.py").write_text(blocks("python")[0], encoding="utf-8")
    project = tomllib.loads(blocks("toml")[0])["project"]
    info = site / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for group, entries in groups]
    (info / "entry_points.txt").write_text("\n".join(lines))


def forget() -> None:
    """Makes this process look for kinds anew."""
    sys.modules.pop("tides", None)
    kinds.cache_clear()
    packages.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which all blocks of the page are run, with the package installed; there is a run in it."""
    folder, site = tmp_path_factory.mktemp("page"), tmp_path_factory.mktemp("site")
    install(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.chdir(folder)
        forget()
        exec(compile(blocks("python")[1], PAGE.name, "exec"), {})
        (folder / "waves.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
        td.train("waves.yaml", QUICK, quiet=True)
        yield folder
    forget()


def test_every_command_and_the_python_of_the_page_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in blocks("sh")[0].splitlines()[1:]:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)][1:]
        assert main(words) == 0
    shown = capsys.readouterr().out
    assert "mean squared error" in shown
    assert "repeating the last step" in shown
    assert "no better than" not in shown
    assert float(shown.splitlines()[-1]) == pytest.approx(-0.9962, abs=0.3)
    exec(compile(blocks("python")[2], PAGE.name, "exec"), {})


def test_it_learns_far_more_than_what_needs_no_model(folder: Path) -> None:
    measured = td.load("runs/waves", device="cpu").evaluate("valid").values["squared-error"]
    assert measured.baseline is not None
    assert measured.high is not None
    assert measured.high < measured.baseline[1] / 5


def test_a_series_is_continued_alike_alone_and_among_others(folder: Path) -> None:
    model, draw = td.load("runs/waves", device="cpu"), np.random.default_rng(0)
    series = [draw.normal(size=n).tolist() for n in (13, 1, 7, 20, 13)]
    together = model.predict(series)
    alone = [model.predict([one])[0] for one in series]
    np.testing.assert_allclose(together, alone, atol=2e-5, rtol=1e-4)
    assert len({round(row[0], 3) for row in alone}) == len(series)  # they differ, so it says something
    assert model.predict([" ".join(map(str, series[0]))]) == model.predict([series[0]])
    assert model.predict([]) == []


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_run_goes_on_bit_for_bit(folder: Path, kind: str, tmp_path: Path) -> None:
    over = {**QUICK, "model.kind": kind, "train.validate_every": 3, "model.residual.dropout": 0.1}
    whole = td.train("waves.yaml", {**over, "train.max_steps": 7}, out=tmp_path / "whole", quiet=True)
    for steps in (4, 7):
        parts = td.train("waves.yaml", {**over, "train.max_steps": steps}, out=tmp_path / "parts", quiet=True)
    files = ("last/model.safetensors", "last/optimizer.safetensors")
    assert [(parts.path / file).read_bytes() for file in files] == [(whole.path / file).read_bytes() for file in files]


def test_plan_doctor_and_the_laws_of_heads_take_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "waves.yaml"]) == 0
    assert main(["plan", "waves.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "vocabulary" not in shown
    assert "tokens per second" in shown
    head = built(kinds("transduce.model.heads")["last-step"]())  # type: ignore[arg-type]
    for law in laws_of(head):
        law(head, WIDTH)


@pytest.fixture(scope="module")
def forecast(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    draw = np.random.default_rng(1)
    series = [" ".join(f"{x:.3f}" for x in draw.normal(size=draw.integers(2, 20))) for _ in range(40)]
    rows = {"series": series, "next": draw.normal(size=40).round(3).tolist()}
    train, valid = ({name: column[part] for name, column in rows.items()} for part in (slice(28), slice(28, 40)))
    task: Any = kinds("transduce.tasks")["forecast"]()
    return case(task, train, valid, tmp_path_factory.mktemp("case"))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_it_obeys_the_laws_of_tasks(law: Callable[[Case], None], forecast: Case) -> None:
    law(forecast)


def test_what_is_too_long_keeps_its_end(folder: Path) -> None:
    module: Any = sys.modules["tides"]
    rows = [[float(i) for i in range(n)] for n in (5, 2)]
    series = module.Series(mean=(0.0,), deviation=(1.0,)).encode(rows, "series")
    batch = module.Continued(series, np.zeros((2, 1), np.float32)).pieces(3).padded(np.array([0, 1]))
    assert batch.inputs.dtype == torch.float32
    assert batch.inputs[..., 0].tolist() == [[2, 3, 4], [0, 1, 0]]
    assert batch.layout.valid.tolist() == [[True] * 3, [True, True, False]]


def test_several_numbers_a_step_are_predicted_together(folder: Path, tmp_path: Path) -> None:
    rows = [f'"[[{i}, 1], [{i + 1}, 2]]","[[{i + 2}, 3]]"' for i in range(40)]
    (tmp_path / "pairs.csv").write_text("series,next\n" + "\n".join(rows) + "\n")
    over = {**QUICK, "data.path": str(tmp_path / "pairs.csv"), "train.max_steps": 2, "train.validate_every": 2}
    run = td.train("waves.yaml", over, out=tmp_path, quiet=True)
    model = td.load(run.path, device="cpu")
    assert np.shape(model.predict(["[[1, 1], [2, 2], [3, 3]]"])) == (1, 2)
    with pytest.raises(UserError, match="row 1 of the column `series` has 1 numbers a step, but there are 2 elsewhere"):
        model.predict(["1 2 3"])
    with pytest.raises(UserError, match="row 2 of the column `series` is 'no', which is no series of numbers"):
        model.predict(["[[1, 2]]", "no"])


def test_another_command_and_a_task_of_text_are_refused_in_a_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", "runs/waves", "x"]) == 2
    assert "this model was trained for task=forecast; use predict" in " ".join(capsys.readouterr().err.split())
    assert main(["embed", "runs/waves", "x"]) == 2
    assert "task=forecast, which reads no text; use predict" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "texts.csv").write_text("text,label\nyes,a\nno,b\nyes yes,a\nno no,b\n")
    with pytest.raises(UserError, match="`tokenizer` is required"):
        td.train("waves.yaml", {"task": "classify", "data.path": str(tmp_path / "texts.csv")}, out=tmp_path, quiet=True)
    over = {"task": "classify", "tokenizer": None, "data.path": str(tmp_path / "texts.csv")}
    with pytest.raises(UserError, match=r"there is text to read, but no tokeniser; set tokenizer\.kind"):
        td.train("waves.yaml", over, out=tmp_path, quiet=True)


def test_a_run_names_the_package_that_is_not_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = json.loads((folder / "runs/waves/env.json").read_text())
    assert env["packages"] == {"transduce.tasks.forecast": "tides", "transduce.data.readers.series": "tides"}
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [place for place in sys.path if not (Path(place) / "tides.py").exists()])
        forget()
        wanted = "runs/waves was made with transduce.tasks.forecast of the package tides, which is not here"
        with pytest.raises(UserError, match=f"^{wanted}; install tides$"):
            td.load("runs/waves")
        (folder / "runs/waves/env.json").rename(folder / "env.json")
        with pytest.raises(UserError, match=r"`task.kind` is 'forecast', but must be one of .*classify"):
            td.load("runs/waves")
        (folder / "env.json").rename(folder / "runs/waves/env.json")
    forget()
    assert td.load("runs/waves", device="cpu").predict(["1 2"])


def test_a_measure_that_is_named_alone_is_recorded_and_missed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.tsv").write_text("".join(f"{'ab'[i % 2]}\t{'xy' * (i % 7 + 1)}\n" for i in range(40)))
    over = {
        **QUICK, "data.path": str(tmp_path / "t.tsv"), "train.metric": "sure", "tokenizer": {"kind": "char"},
        "model.width": 16, "model.layers": 1, "model.mixer.heads": 2, "train.max_steps": 2, "train.validate_every": 2,
        "schedule": {"kind": "constant"},
    }  # fmt: skip
    site = tmp_path / "site"
    (site / "sure-1.0.dist-info").mkdir(parents=True)
    (site / "sure.py").write_text(
        "from typing import ClassVar\nfrom dataclasses import dataclass\n"
        "from transduce.tasks.measures.measure import Measure, Measured\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Sure(Measure):\n"
        "    kind: ClassVar[str] = 'sure'\n    label: ClassVar[str] = 'sureness'\n"
        "    of_what: ClassVar[str] = 'class'\n"
        "    def of(self, outcome, draws=0):\n"
        "        return Measured(min(s.prediction.probability for s in outcome.samples))\n"
    )
    (site / "sure-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: sure\nVersion: 1.0\n")
    (site / "sure-1.0.dist-info/entry_points.txt").write_text("[transduce.tasks.measures]\nsure = sure:Sure\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(site))
        forget()
        run = td.train("classify", over, out=tmp_path / "runs", quiet=True)
        assert json.loads((run.path / "env.json").read_text())["packages"] == {"transduce.tasks.measures.sure": "sure"}
    forget()
    longer = {**over, "train.max_steps": 4}
    for _ in range(2):  # the record outlives the refusal
        with pytest.raises(
            UserError, match=r"made with transduce.tasks.measures.sure of the package sure, .*; install sure"
        ):
            td.train("classify", longer, out=tmp_path / "runs", quiet=True)
    with pytest.raises(UserError, match=r"^train.metric=suer is not a measure; use one of"):
        td.train("classify", {**over, "train.metric": "suer", "name": "other"}, out=tmp_path / "runs", quiet=True)
