"""Several labels of a text: what is learnt, the threshold, and labels as they come."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transduce as td
from transduce.cli.main import main
from transduce.data.readers.label_sets import LabelSets
from transduce.errors import UserError
from transduce.tasks.measures.label_sets import MacroLabelF1, MicroF1
from transduce.tasks.measures.measure import Outcome, Sample
from transduce.tasks.multilabel import MultilabelConfig, Multilabelled

SMALL: dict[str, Any] = {
    "tokenizer": {"kind": "char"}, "model.width": 16, "model.layers": 1, "model.feedforward.hidden": 24,
    "model.mixer.heads": 2, "batch.max_length": 40, "batch.batch_tokens": 512, "optimizer.learning_rate": 0.02,
    "schedule.warmup_steps": 2, "train.max_steps": 80, "train.validate_every": 40, "train.threads": 1,
    "train.device": "cpu", "train.ema": None, "model.residual.dropout": 0.0,
}  # fmt: skip


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    draw = np.random.default_rng(0)
    texts = ["".join(draw.choice(list("xyzabcdeab"), draw.integers(1, 6))) for _ in range(160)]
    rows = [{"text": text, "labels": [c for c in "xyz" if c in text]} for text in texts]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    values = {"data.path": str(folder / "a.jsonl"), **SMALL}
    return td.train("multilabel", values, out=tmp_path_factory.mktemp("runs"), quiet=True).path


def test_it_learns_sets(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = td.load(run, device="cpu")
    first, none, blank = model.classify(["xza", "a", " "])
    assert isinstance(first, Multilabelled)
    assert set(first.labels) == {"x", "z"}
    assert none.labels == ()
    assert blank == Multilabelled((), {})
    assert first.probabilities.keys() == {"x", "y", "z"}
    assert model.evaluate("valid").values["micro-f1"].value > 0.8
    assert main(["classify", str(run), "ya", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == ["y"]
    assert main(["classify", str(run), "ya", "a"]) == 0
    assert capsys.readouterr().out == "y\n\n"


def test_the_threshold_says_which_labels_are_given(run: Path) -> None:
    low = td.load(run, device="cpu", overrides={"task.threshold": 1e-6})
    assert len(low.classify("aab").labels) == 3
    with pytest.raises(UserError, match=r"threshold=1.0 is not between 0 and 1"):
        MultilabelConfig(threshold=1.0)


@pytest.mark.parametrize(
    ("cell", "mark", "expected"),
    [
        ("b, a,b", "comma", ("b", "a")),
        ("a|c d", "bar", ("a", "c d")),
        ('["a", "b, c"]', "comma", ("a", "b, c")),
        (("a", 2), "comma", ("a", "2")),
        ("", "comma", ()),
        (3, "comma", ("3",)),
    ],
)
def test_labels_are_read_as_they_come(cell: Any, mark: Any, expected: tuple[str, ...]) -> None:
    assert LabelSets(mark=mark).labels(cell) == expected


def test_labels_become_rows_of_numbers() -> None:
    reader = LabelSets().fit(["b,a", "", "c"], "labels")
    assert reader.names == ("a", "b", "c")
    assert reader.encode(["c,a", ""], "labels").tolist() == [[1, 0, 1], [0, 0, 0]]
    with pytest.raises(UserError, match="the label 'd' in the column `labels` was not there in training"):
        reader.encode(["a,d"], "labels")
    with pytest.raises(UserError, match="no row of the column `labels` of train has a label"):
        LabelSets().fit(["", ""], "labels")


def test_f1_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    draw = np.random.default_rng(0)
    expected, predicted = (draw.integers(0, 2, (20, 4)) for _ in range(2))
    names = np.array(["a", "b", "c", "d"])
    sets = [tuple(tuple(names[row == 1].tolist()) for row in pair) for pair in zip(expected, predicted, strict=True)]
    samples = [Sample("", ", ".join(one), ", ".join(other), None, (one, other)) for one, other in sets]
    outcome = Outcome(0.0, 1, np.zeros((0, 2)), samples)
    for measure, average in ((MicroF1(), "micro"), (MacroLabelF1(), "macro")):
        measured = measure.of(outcome, 50)
        assert measured.value == pytest.approx(f1_score(expected, predicted, average=average))
        assert measured.low is not None
        assert measured.baseline is not None
