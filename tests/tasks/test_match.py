"""Pictures and captions: what is learnt, searched for, measured and refused."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transduce as td
from transduce.data.captioned import Captioned
from transduce.errors import UserError
from transduce.model.architecture.encoder import EncoderConfig
from transduce.tasks.match import nearest
from transduce.tasks.measures.measure import Outcome, Sample
from transduce.tasks.measures.retrieval import CaptionAt1, PictureAt5, RetrievalRank, Retrieved

SMALL: dict[str, Any] = {
    "model.width": 16, "model.layers": 1, "model.text_layers": 1, "model.mixer.heads": 2, "model.embedding.patch": 2,
    "model.residual.dropout": 0.0, "batch.batch_tokens": 16, "batch.max_length": 8, "schedule.warmup_steps": 2,
    "train.max_steps": 40, "train.validate_every": 40, "train.ema": None, "train.threads": 1, "train.device": "cpu",
    "optimizer.learning_rate": 0.01, "objective.both_ways": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def table(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of pictures of three colours, of which many have the same caption."""
    folder = tmp_path_factory.mktemp("captions")
    for split in ("train", "valid"):
        rows = [(str(path), f"a {path.parent.name} one") for path in sorted((photos / split).glob("*/*.png"))]
        with (folder / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("image", "caption"), *rows])
    return folder


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    return td.train("match", {"data.path": str(table), **SMALL}, out=out, quiet=True).path


def test_colours_are_told_by_their_captions(run: Path, photos: Path) -> None:
    """Nothing but captions was learnt from, so the class of a picture is that of the nearest one: zero-shot."""
    model = td.load(run)
    labels = ["red", "green", "grey"]
    pictures = sorted((photos / "valid").glob("*/*.png"))
    seen, texts = model.embed_pictures(pictures), model.embed([f"a {label} one" for label in labels])
    assert np.allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-6)
    told: list[int] = (seen @ texts.T).argmax(1).tolist()
    right = [labels[i] == path.parent.name for i, path in zip(told, pictures, strict=True)]
    assert sum(right) >= 0.9 * len(right)
    values = model.evaluate("valid").values
    assert values["caption-at-1"].value >= 0.9
    assert values["picture-at-1"].value >= 0.9
    assert np.allclose(model.predict([str(pictures[3])])[0], seen[3], atol=1e-6)


def test_another_kind_of_model_is_refused(run: Path) -> None:
    model = td.load(run)
    with pytest.raises(UserError, match=r"use model\.kind=towers"):
        model.task.shaped(EncoderConfig(), model.readers)


def test_ranks_are_of_the_nearest_right_one() -> None:
    scores, right = np.array([0.3, 0.9, 0.5, 0.5], dtype=np.float32), np.array([True, False, False, True])
    assert nearest(scores, right) == 3, "of equal ones the first stands first"
    samples = [Sample("", "", "", None, Retrieved(*ranks)) for ranks in ((1, 6), (2, 5), (4, 1))]
    outcome = Outcome(0.0, 3, np.zeros((1, 2)), samples)
    assert CaptionAt1().of(outcome).value == pytest.approx(1 / 3)
    assert PictureAt5().of(outcome).value == pytest.approx(2 / 3)
    assert RetrievalRank().of(outcome).value == pytest.approx(np.mean([1, 1 / 6, 1 / 2, 1 / 5, 1 / 4, 1]))


def test_batches_leave_no_pair_alone(table: Path, run: Path) -> None:
    model = td.load(run)
    columns = model.recipe.data.load(model.task.reads)["train"]
    examples = model.task.examples(columns.take(range(33)), model.readers)
    assert isinstance(examples, Captioned)
    rows = examples.rows(model.recipe.batch, drop=False)
    groups = rows.plan(np.random.default_rng(0))
    assert [len(group) for group in groups] == [11, 11, 11]
    assert sorted(np.concatenate(groups)[:, 0].tolist()) == list(range(33))
    assert sorted(np.concatenate(rows.fixed())[:, 0].tolist()) == list(range(33))
