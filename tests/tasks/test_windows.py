"""Classification beyond one row for each text: windows, weights of classes, and a temperature."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transduce as td
from transduce.data.classes import Labelled, in_windows, weights_of
from transduce.data.columns import Columns
from transduce.data.loader import BatchConfig
from transduce.data.readers.labels import Labels
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.tasks.classify import ClassifyConfig, means
from transduce.tasks.reading import log_softmax
from transduce.text.char import Char
from transduce.training.calibrate import HIGHEST, Scores, fitted

SMALL: dict[str, Any] = {
    "tokenizer": {"kind": "char"}, "model.width": 16, "model.layers": 1, "model.feedforward.hidden": 24,
    "model.mixer.heads": 2, "batch.max_length": 16, "batch.batch_tokens": 512, "optimizer.learning_rate": 0.01,
    "schedule.warmup_steps": 2, "train.max_steps": 40, "train.validate_every": 40, "train.threads": 1,
    "train.device": "cpu", "train.ema": None, "model.residual.dropout": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of 40 letters whose label stands in the last ones, far behind the sixteen tokens of a row."""
    folder = tmp_path_factory.mktemp("late")
    rows = [("ex" if i % 3 else "why", "ab" * (18 + i % 3) + ("xx" if i % 3 else "yy")) for i in range(96)]
    noisy = [(("why", "ex")[label == "why"] if i % 8 == 0 else label, text) for i, (label, text) in enumerate(rows)]
    for name, some in (("train", rows), ("valid", noisy[:48]), ("test", noisy[48:])):
        (folder / f"{name}.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in some))
    return folder


def test_windows_read_what_a_row_cuts_off_and_a_temperature_is_kept(late: Path, tmp_path: Path) -> None:
    values = {"data.path": str(late), **SMALL}
    cut = td.train("classify", {**values, "name": "cut", "train.max_steps": 10}, out=tmp_path, quiet=True)
    over = {"task.window": 16, "task.stride": 4, "task.calibrate": True, "task.class_weights": "balanced"}
    run = td.train("classify", {**values, **over, "name": "read"}, out=tmp_path, quiet=True)
    right = cut.result["test"]["accuracy"], run.result["test"]["accuracy"]  # type: ignore[index]
    assert right[0] < 0.7
    assert right[1] > 0.85
    log = [(path.path / "log.txt").read_text() for path in (cut, run)]
    assert "exceed batch.max_length=16 and are cut off" in log[0]
    assert "cut off" not in log[1]

    kept = json.loads((run.path / "result.json").read_text())["calibration"]
    assert not 0.95 < kept["temperature"] < 1.05  # of labels that are wrong one time in eight
    assert kept["valid"]["nll"][1] < kept["valid"]["nll"][0]
    assert kept["test"]["calibration-error"][1] < kept["test"]["calibration-error"][0]
    assert (run.path / "plots/calibration-test.png").stat().st_size > 5000
    model, raw = td.load(run.path, device="cpu"), td.load(run.path, device="cpu", checkpoint="last")
    assert model.recipe.task.temperature == kept["temperature"]  # type: ignore[attr-defined]
    found = model.evaluate("test").values["calibration-error"]
    assert found.value == pytest.approx(kept["test"]["calibration-error"][1], abs=1e-9)
    texts = ["ab" * 18 + "xx", "yy", ""]
    unscaled = replace(model, recipe=replace(model.recipe, task=replace(model.task, temperature=1.0)))
    for one, other in zip(model.classify(texts), unscaled.classify(texts), strict=True):
        assert one.label == other.label
        sharper = one.probability > other.probability
        assert not one.label or sharper == (kept["temperature"] < 1)
    if (run.path / "best").resolve() != (run.path / "last").resolve():  # a temperature is that of one checkpoint
        assert raw.recipe.task.temperature == 1.0  # type: ignore[attr-defined]


def made(texts: list[str], labels: list[str], **keys: Any) -> tuple[Labelled, Readers]:
    task, columns = ClassifyConfig(**keys), Columns({"text": texts, "label": labels})
    readers = Readers(Char().train(texts), {"label": Labels().fit(labels, "label")})
    return task.examples(columns, readers), readers


def test_windows_of_a_text_hold_every_token_and_share_its_weight() -> None:
    texts = ["ab" * n for n in (0, 1, 5, 9, 40)]
    examples, _ = made(texts, ["a", "b", "a", "b", "a"], window=11, stride=3, class_weights={"b": 3.0})
    pieces = examples.weighted(11, drop=False)
    assert pieces.weights is not None
    sums = np.bincount(pieces.example, weights=pieces.weights)
    assert sums == pytest.approx([1, 3, 1, 3, 1])
    assert pieces.lengths[1].max() == 11
    for i in range(len(texts)):
        text = examples.texts[i][1:-1].tolist()
        rows = [row.ids[1:-1] for row in in_windows(text, examples.frame, 11, 3)]
        assert rows[0] + [token for row in rows[1:-1] for token in row[3:]] == text[: len(rows) * 6 - 3][: len(text)]
        assert rows[-1] == text[-len(rows[-1]) :] or not text
    whole, _ = made(texts, ["a", "b", "a", "b", "a"], class_weights={"b": 3.0})
    batch = next(iter(whole.rows(BatchConfig(batch_tokens=4096, max_length=256), drop=False).fixed()))
    built = whole.rows(BatchConfig(batch_tokens=4096, max_length=256), drop=False).build(batch)
    assert built.weights is not None
    assert built.weights.tolist() == [(1.0, 3.0)[label] for label in built.targets.tolist()]


def test_logits_of_a_text_are_the_mean_of_its_windows() -> None:
    assert means([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [0, 1, 1], 2) == [[1.0, 2.0], [4.0, 5.0]]
    assert means([], [], 0) == []


def test_balanced_weights_give_each_label_the_same_sum() -> None:
    classes = np.array([0] * 9 + [1] * 2 + [2])
    weights = weights_of("balanced", ("a", "b", "c"), classes)
    assert np.bincount(classes, weights=weights) == pytest.approx([4, 4, 4])
    assert weights.mean() == pytest.approx(1)


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
def test_a_temperature_undoes_a_scale_and_is_the_best_one(scale: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3))
    classes = np.array([rng.choice(3, p=row) for row in np.exp(log_softmax(logits))])
    rows = Scores(log_softmax(logits * scale), classes)
    found = fitted(rows)
    assert found is not None
    assert found == pytest.approx(scale, rel=0.1)
    assert rows.at(found).nll <= min(rows.at(found * k).nll for k in (0.99, 1.01))
    assert fitted(Scores(log_softmax(rows.log_p * 2), classes)) == pytest.approx(2 * found, rel=1e-9)
    sure = Scores(log_softmax(10.0 * np.eye(3)), np.arange(3))
    assert fitted(sure) is None
    assert fitted(Scores(sure.log_p, np.array([1, 2, 0]))) == pytest.approx(HIGHEST)


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"task.window": 300}, "task.window=300 is more than batch.max_length=16; raise that, or lower it"),
        ({"task.window": 2}, "task.window=2 leaves no room for a text beside 2 special tokens"),
        ({"task.window": 0}, "window=0 must be at least 1"),
        ({"task.class_weights": {"whi": 2}}, "has the label 'whi', which train has not; did you mean 'why'?"),
        ({"task.class_weights": {"why": 0}}, r"task.class_weights.why=0 must be more than 0"),
        ({"task.class_weights": "even"}, "`task.class_weights` is 'even'"),
        ({"task.calibrate": True, "task.temperature": 2}, "fits the temperature; leave task.temperature=2 out"),
        ({"task.temperature": 0}, "temperature=0.0 must be more than 0"),
    ],
)
def test_what_does_not_fit_is_one_sentence(over: dict[str, Any], sentence: str, late: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        td.train("classify", {"data.path": str(late), **SMALL, **over}, out=tmp_path, quiet=True)


def test_a_label_without_a_row_and_no_validation_are_said(tmp_path: Path, late: Path) -> None:
    with pytest.raises(UserError, match="balanced, but train has no row with the label 'c'; add some, or give weights"):
        weights_of("balanced", ("a", "c"), np.array([0, 0]))
    over = {"data.path": str(late / "train.tsv"), "data.valid_fraction": 0, "task.calibrate": True}
    with pytest.raises(UserError, match="fits a temperature to a validation split, and there is none; give a file"):
        td.train("classify", {**SMALL, **over}, out=tmp_path, quiet=True)
