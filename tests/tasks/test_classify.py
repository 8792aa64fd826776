"""Classification: laws that hold for any body, what is said, and that a run is all that is needed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce.cli.main import main
from transduce.data.columns import Columns
from transduce.data.readers.labels import Labels
from transduce.data.readers.reader import Readers
from transduce.errors import Notice, UserError
from transduce.tasks.classify import Classified, ClassifyConfig

SMALL = {
    "tokenizer": {"kind": "char"}, "model.width": 16, "model.layers": 1, "model.feedforward.hidden": 24,
    "batch.max_length": 40, "batch.batch_tokens": 512, "optimizer.learning_rate": 0.01, "schedule.warmup_steps": 2,
    "train.max_steps": 40, "train.validate_every": 20, "train.threads": 1, "train.device": "cpu", "train.ema": None,
    "model.residual.dropout": 0.0,
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "encoder": {"model.mixer.heads": 2},
    "decoder": {"model.kind": "decoder", "model.mixer.heads": 2, "model.head": {"kind": "classes", "pool": ["last"]}},
    "lstm": {"model.mixer": "lstm", "model.positions": "none"},
    "gated-delta": {"model.mixer": {"kind": "gated-delta", "heads": 2}, "model.positions": "none"},
    "named": {"model": "gated-deltanet-2024", "model.width": 16, "model.layers": 1, "model.mixer.heads": 2},
}


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whether a text has an x in it, or a y: easy to tell."""
    folder = tmp_path_factory.mktemp("labelled")
    rows = [
        ("ex" if i % 3 else "why", ("a" * (i % 7 + 1)) + ("x" if i % 3 else "y") + "b" * (i % 5)) for i in range(90)
    ]
    (folder / "train.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    (folder / "valid.tsv").write_text("".join(f"{label}\t{text}c\n" for label, text in rows[:20]))
    return folder


@pytest.fixture(scope="session")
def trained(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """trained(body, {"train.max_steps": 3}) -> the directory of a run."""
    runs: dict[str, Path] = {}

    def of(body: str, over: dict[str, Any] | None = None) -> Path:
        key = json.dumps([body, over])
        if key not in runs:
            out = tmp_path_factory.mktemp("runs")
            small = {k: v for k, v in SMALL.items() if body != "named" or not k.startswith("model.f")}
            values = {"data.path": str(labelled), **small, **BODIES[body], **(over or {})}
            runs[key] = td.train("classify", values, out=out, quiet=True).path
        return runs[key]

    return of


@pytest.mark.parametrize("body", list(BODIES))
def test_every_body_learns_and_reads_a_text_alone_as_in_a_batch(body: str, trained: Callable[..., Path]) -> None:
    run = trained(body)
    model = td.load(run, device="cpu")
    texts = ["ax", "aaaaaay", "aay", "aaaaxbbb", "aaybbbb"]
    together = model.classify(texts)
    assert [answer.label for answer in together] == ["ex", "why", "why", "ex", "why"]
    for text, answer in zip(texts, together, strict=True):
        alone = model.classify(text)
        assert isinstance(alone, Classified)
        assert alone.probability == pytest.approx(answer.probability, abs=1e-5)
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert next(iter(answer.probabilities)) == answer.label
    found = model.evaluate("valid")
    assert found.values["accuracy"].value > 0.9
    assert found.values["macro-f1"].low is not None
    assert found.values["accuracy"].baseline == ("always answering 'ex'", pytest.approx(0.65, abs=0.05))
    assert found.grid is not None
    assert sum(map(sum, found.grid.counts)) == 20


@pytest.mark.usefixtures("plots")
def test_a_run_draws_its_losses_and_what_was_taken_for_what(labelled: Path, tmp_path: Path) -> None:
    few = {"data.path": str(labelled), **SMALL, **BODIES["encoder"], "train.max_steps": 3}
    run = td.train("classify", few, out=tmp_path, quiet=True)
    for name in ("loss", "confusion"):
        assert (run.path / f"plots/{name}.png").stat().st_size > 5000


def test_a_run_says_and_keeps_what_it_measured(trained: Callable[..., Path]) -> None:
    path = trained("encoder")
    result = json.loads((path / "result.json").read_text())
    assert result["metric"] == "macro-f1"
    assert {"loss", "macro-f1", "accuracy", "mcc", "count", "intervals", "confusion"} <= result["valid"].keys()
    assert json.loads((path / "readers/label.json").read_text()) == {
        "kind": "labels", "names": ["ex", "why"], "end": None
    }  # fmt: skip


def test_a_run_goes_on_to_the_same_weights(labelled: Path, tmp_path: Path) -> None:
    values = {"data.path": str(labelled), **SMALL, **BODIES["encoder"], "train.save_every": 5, "schedule.steps": 40}
    td.train("classify", {**values, "train.max_steps": 20}, out=tmp_path, quiet=True)
    again = td.train("classify", values, out=tmp_path, quiet=True)
    whole = td.train("classify", {**values, "name": "whole"}, out=tmp_path, quiet=True)
    one, other = ((run.path / "last/model.safetensors").read_bytes() for run in (again, whole))
    assert one == other
    assert again.metrics == whole.metrics


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        (
            {"model": {"kind": "encoder-decoder"}},
            "task=classify reads a text with one stack; choose model.kind",
        ),
        ({"model.head.classes": 5}, "model.head.classes=5, but the data have 2 labels; leave it out"),
        ({"batch.packing": True}, "batch.packing=true puts several texts in a row"),
        ({"batch.carry": True}, "batch.carry=true reads one stream"),
        ({"objective": "masked-lm"}, "objective=masked-lm predicts tokens, but the head"),
        ({"train.metric": "bleu"}, "train.metric=bleu looks at predictions that task=classify does not make"),
        ({"train.metric": "acuracy"}, "train.metric=acuracy is not a measure; did you mean `accuracy`"),
        ({"data.columns.label": "labl"}, "no column `labl`"),
        ({"task": "translate"}, "has no column that is surely the source"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    over: dict[str, Any], sentence: str, labelled: Path, tmp_path: Path
) -> None:  # fmt: skip
    with pytest.raises(UserError, match=sentence):
        td.train("classify", {"data.path": str(labelled), **SMALL, **over}, out=tmp_path, quiet=True)
    assert not any(tmp_path.iterdir())


def test_a_label_that_was_not_seen_is_named(trained: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("ex\tax\nwhy\tay\nzed\taz\n")
    more = {"data.path": str(tmp_path), "data.valid_fraction": 0, "data.columns.text": 1, "data.columns.label": 0}
    model = td.load(trained("encoder"), device="cpu", overrides=more)
    with pytest.raises(UserError, match="the label 'zed' in the column `label` was not there in training"):
        model.evaluate("train")


def test_blank_texts_have_no_label_and_long_ones_are_said(trained: Callable[..., Path]) -> None:
    run = trained("encoder", {"model.positions": {"kind": "learned", "limit": 40}})
    model = td.load(run, device="cpu")
    assert model.classify(["", " \t", "ax"])[0] == Classified("", 0.0, {})
    assert model.classify("") == Classified("", 0.0, {})
    with pytest.warns(Notice, match=r"text 0 has 52 tokens, but the model reads 40; the rest is cut off"):
        assert model.classify("x" * 50).label
    with pytest.raises(UserError, match="trained for task=classify; use classify"):
        model.translate("x")


def test_a_model_that_learnt_nothing_is_told_so(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    slow = {"train.max_steps": 3, "optimizer.learning_rate": 1e-9, "schedule.warmup_steps": 1}
    td.train("classify", {"data.path": str(labelled), **SMALL, **BODIES["encoder"], **slow}, out=tmp_path)
    assert "is no better than always answering 'ex'" in capsys.readouterr().out


def test_the_command_prints_a_label_for_every_line(
    trained: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = str(trained("encoder"))
    assert main(["classify", run, "ax", "", "aay"]) == 0
    assert capsys.readouterr().out == "ex\n\nwhy\n"
    (tmp_path / "lines.txt").write_text("ax\n\nay\n")
    assert main(["classify", run, "--file", str(tmp_path / "lines.txt"), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["label"] for row in rows] == ["ex", None, "why"]
    assert main(["classify", run, "ax", "--probabilities"]) == 0
    assert capsys.readouterr().out.startswith("ex 0.9")
    assert main(["classify", run, "ax", "--file", "x"]) == 2


def test_weights_of_targets_weigh_the_loss(trained: Callable[..., Path]) -> None:
    model = td.load(trained("encoder"), device="cpu")
    task, recipe = model.task, model.recipe
    columns = recipe.data.load(task.reads)["valid"]
    batch = next(task.split("valid", columns, model.readers, recipe.batch, 0).loader.once())
    objective = recipe.objective.build_for(model.model, model.readers.tokenizer)
    whole = objective(model.model, batch)
    ones = objective(model.model, batch._replace(weights=torch.ones(len(batch.targets))))
    torch.testing.assert_close(ones.total, whole.total)
    few = torch.zeros(len(batch.targets))
    few[:3] = 2.0
    weighted = objective(model.model, batch._replace(weights=few))
    assert float(weighted.count) == 6
    rows = batch._replace(targets=torch.where(few > 0, batch.targets, -1))
    torch.testing.assert_close(weighted.total, 2 * objective(model.model, rows).total)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([1, 2, 3] * 20, r"the labels \(1, 2, 3\) are numbers and are taken for 3 classes, without order; "),
        (["0", "1"] * 30, r"the labels \(0, 1\) are numbers and are taken for 2 classes"),
        ([0.5, 1, 1.5, "2.0", -3e2] * 12, r"\(-300, 0.5, 1, 1.5, 2.0\) are numbers and are taken for 5 classes"),
        ([*range(30)] * 2, r"\(0, 1, .*, 9, \.\.\.\) are numbers and are taken for 30 classes"),
        (["a", "b", "1"] * 20, None),
        ([True, False] * 30, None),
        (["nan", "inf"] * 30, None),
        ([i / 7 for i in range(60)], r"`label` of train holds 60 different numbers in 60 rows, too many for classes; "),
        ([*range(31), *range(29)], r"holds 31 different numbers in 60 rows"),
        ([i % 21 + 0.5 for i in range(600)], r"holds 21 different numbers in 600 rows"),
    ],
    ids=lambda value: None,
)
def test_labels_that_are_numbers_are_said_or_refused(labels: list[Any], told: str | None) -> None:
    columns = Columns({"text": ["x"] * len(labels), "label": labels})
    task, anyway = ClassifyConfig(), ClassifyConfig(many_numbers=True)
    readers = Readers(None, anyway.readers(columns))
    if told is not None and "different" in told:
        with pytest.raises(UserError, match=told + ".*task.many_numbers=true makes a class of each"):
            task.readers(columns)
        assert len(anyway.remarks(readers)) == 1
        return
    assert task.readers(columns) == readers.columns
    assert [bool(re.search(told or "", line)) for line in task.remarks(readers)] == [True] * (told is not None)


def test_the_task_that_predicts_numbers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = Readers(None, {"label": Labels(names=("1", "2"))})
    assert ClassifyConfig().remarks(readers)[0].endswith("; task=regress predicts numbers")

    class Rate(ClassifyConfig):
        kind = "rate"
        gives = "number"

    monkeypatch.setattr("transduce.tasks.classifying.kinds", lambda folder: {"classify": ClassifyConfig})
    assert "none is installed" in ClassifyConfig().remarks(readers)[0]
    monkeypatch.setattr("transduce.tasks.classifying.kinds", lambda folder: {"classify": ClassifyConfig, "rate": Rate})
    assert ClassifyConfig().remarks(readers)[0].endswith("; task=rate predicts numbers")


def test_training_and_doctor_say_what_numbers_are_taken_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    (tmp_path / "t.tsv").write_text("".join(f"{i % 3}\t{'ab' * (i % 7 + 1)}\n" for i in range(60)))
    over = {"data.path": str(tmp_path / "t.tsv"), **SMALL, "train.max_steps": 4, "train.validate_every": 4}
    td.train("classify", over, out=tmp_path)
    assert "are numbers and are taken for 3 classes" in capsys.readouterr().out.replace("\n", " ")
    assert any("taken for 3 classes" in line for line in td.doctor("classify", over).unread)
