"""Vectors from pairs, rankings by them, and BM25 beside."""

import json
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import transduce as td
from transduce.cli.main import main
from transduce.data.columns import Columns
from transduce.data.loader import BatchConfig
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.tasks.bm25 import Bm25, rank_of
from transduce.tasks.measures.measure import Outcome, Sample
from transduce.tasks.measures.ranking import RecallAt1, RecallAt10, ReciprocalRank
from transduce.tasks.reading import frame_of

SMALL: dict[str, Any] = {
    "tokenizer": {"kind": "char"}, "model.width": 16, "model.layers": 1, "model.feedforward.hidden": 24,
    "model.mixer.heads": 2, "batch.max_length": 24, "batch.batch_tokens": 512, "optimizer.learning_rate": 0.01,
    "schedule.warmup_steps": 2, "train.max_steps": 40, "train.validate_every": 20, "train.threads": 1,
    "train.device": "cpu", "train.ema": None, "model.residual.dropout": 0.0,
}  # fmt: skip


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A passage has the letters of its question in upper case, so BM25, which ignores case, is of no help."""
    folder = tmp_path_factory.mktemp("asked")
    draw = np.random.default_rng(0)
    texts = ["".join(draw.choice(list("abcdefgh"), 5)) for _ in range(120)]
    rows = [{"question": text, "passage": text[::-1].upper()} for text in texts]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    out = tmp_path_factory.mktemp("runs")
    names = {"embed": {"data.columns.text": "question", "data.columns.other": "passage"}, "rank": {}}
    return {
        name: td.train(name, {"data.path": str(folder / "a.jsonl"), **SMALL, **over}, out=out, quiet=True).path
        for name, over in names.items()
    }


def test_a_question_finds_its_passage(runs: dict[str, Path]) -> None:
    model = td.load(runs["rank"], device="cpu")
    evaluation = model.evaluate("valid")
    mrr = evaluation.values["mrr"]
    assert mrr.value > 0.5
    assert mrr.baseline is not None
    assert mrr.baseline[0] == "BM25"
    assert mrr.value > mrr.baseline[1]
    assert evaluation.values["recall-at-10"].value >= evaluation.values["recall-at-1"].value
    passages = ["AAAAA", "HGFED", "CBBAC"]
    ranked = model.rank("defgh", passages)
    assert sorted(ranked.order) == [0, 1, 2]
    assert [*ranked.scores] == sorted(ranked.scores, reverse=True)
    assert model.predict([("defgh", passages)])[0].order == ranked.order
    with pytest.raises(UserError, match="text 0 is not a question and a list of passages"):
        model.predict(["x"])


def test_vectors_are_those_of_the_task(runs: dict[str, Path]) -> None:
    model = td.load(runs["embed"], device="cpu")
    vectors = model.embed(["abc", "CBA", "hhh"])
    assert vectors.shape == (3, 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.array(model.predict(["abc"]))[0] == pytest.approx(vectors[0], abs=1e-6)


def test_the_commands(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.txt").write_text("HGFED\n\nAAAAA\n")
    run = str(runs["rank"])
    assert main(["rank", run, "defgh", "--passages", str(tmp_path / "p.txt"), "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert {row["line"] for row in one["passages"]} == {1, 3}
    assert main(["rank", run, "defgh", "--passages", str(tmp_path / "p.txt"), "--top", "1"]) == 0
    assert len(capsys.readouterr().out.strip().split("\n")) == 1
    assert main(["embed", str(runs["embed"]), "abc"]) == 0
    assert len(json.loads(capsys.readouterr().out)["vector"]) == 16
    assert main(["rank", str(runs["embed"]), "a", "--passages", str(tmp_path / "p.txt")]) == 2
    assert "trained for task=embed; use embed" in capsys.readouterr().err


def test_the_loss_is_the_formula_and_a_passage_of_two_questions_is_no_wrong_answer(runs: dict[str, Path]) -> None:
    model = td.load(runs["rank"], device="cpu")
    columns = Columns({"question": ["ab", "cd", "efg"], "passage": ["BA", "BA", "HH"]})
    rows = model.task.examples(columns, model.readers).rows(BatchConfig(batch_tokens=128, max_length=16), drop=False)
    (group,) = rows.fixed()
    batch = rows.build(group)
    objective = model.recipe.objective.build_for(model.model, model.tokenizer)
    loss = objective(model.model, batch)
    u = torch.from_numpy(model.task.vectors(model.model, model.readers, [columns["question"][i] for i in group]))
    v = torch.from_numpy(model.task.vectors(model.model, model.readers, [columns["passage"][i] for i in group]))
    scores = (u @ v.T / 0.05).double()
    own = [columns["passage"][i] for i in group]
    for i in range(3):
        for j in range(3):
            if i != j and own[i] == own[j]:
                scores[i, j] = -math.inf
    expected = F.cross_entropy(scores, torch.arange(3), reduction="sum")
    assert float(loss.total.detach()) == pytest.approx(float(expected), rel=1e-4)
    assert int(loss.count) == 3
    with pytest.raises(UserError, match="packing=true puts several texts in a row"):
        model.task.examples(columns, model.readers).rows(BatchConfig(packing=True), drop=False)


def test_batches_are_mixed_so_that_a_passage_meets_others(runs: dict[str, Path]) -> None:
    """Of passages with several questions each, which by length would fill batches of their own."""
    model = td.load(runs["rank"], device="cpu")
    columns = Columns({
        "question": [f"{'abcdefgh'[i % 8]}{'ab'[i % 2]}" for i in range(64)],
        "passage": ["HGFEDCBA"[: 1 + i // 8] for i in range(64)],
    })  # fmt: skip
    rows = model.task.examples(columns, model.readers).rows(BatchConfig(batch_tokens=120, max_length=16), drop=False)
    for groups in (rows.fixed(), rows.plan(np.random.default_rng(1))):
        assert sorted(i for group in groups for i in group.tolist()) == [*range(64)]
        different = [len(set(rows.build(group).targets.tolist())) / len(group) for group in groups]
        assert np.mean(different) > 0.6


def test_a_hard_negative_alone_counts_as_in_a_batch_where_rows_may_lack_it(runs: dict[str, Path]) -> None:
    """In float64, with vectors of each text alone; what is a question's own passage is no wrong answer to it."""
    model = td.load(runs["rank"], device="cpu")
    exact = deepcopy(model.model).double()
    columns = Columns({
        "question": ["ab", "cd", "efg", "h"], "passage": ["BA", "DCDCD", "GFE", "HH"],
        "negative": ["AB", "", "BA", "HH"],
    })  # fmt: skip
    twins = model.task.examples(columns, model.readers)
    (group,) = twins.rows(BatchConfig(batch_tokens=128, max_length=16), drop=False).fixed()
    batch = twins.rows(BatchConfig(batch_tokens=128, max_length=16), drop=False).build(group)
    assert batch.extra.which.shape == (3,)
    frame, tokenizer = frame_of(model.tokenizer), model.tokenizer

    def vector(text: str) -> torch.Tensor:
        ids = torch.tensor([frame.row(tokenizer.encode(text)).ids])
        layout = dense(*ids.shape)
        return F.normalize(exact.pooled_head(exact.features(Batch(ids, layout, ids)), layout), dim=-1)[0]

    candidates = [*columns["passage"], *(text for text in columns["negative"] if text)]
    loss, each = model.recipe.objective.build_for(exact, tokenizer)(exact, batch), list[torch.Tensor]()
    for i, question in enumerate(columns["question"]):
        own = columns["passage"][i]
        wrong = [text for j, text in enumerate(candidates) if j != i and text != own]
        scores = torch.stack([vector(question) @ vector(text) / 0.05 for text in (own, *wrong)])
        each.append(-scores.log_softmax(0)[0])
    torch.testing.assert_close(loss.total, torch.stack(each).sum(), rtol=1e-10, atol=0)
    parameters = [*exact.parameters()]
    found, expected = (torch.autograd.grad(x, parameters) for x in (loss.total, torch.stack(each).sum()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    (line,) = model.task.unlearnable(model.recipe.model, model.readers, "train", twins)
    assert line.startswith("train: 1 of 3 negatives are the same text as what they stand beside; these are no wrong")
    without = Columns({name: columns[name] for name in ("question", "passage")})
    empty = model.task.examples(Columns({**without.values, "negative": [""] * 4}), model.readers)
    assert empty.rows(BatchConfig(), drop=False).build(group).extra is None
    assert model.task.unlearnable(model.recipe.model, model.readers, "x", empty) == []
    split = model.task.split("valid", columns, model.readers, BatchConfig(max_length=16), 0)
    place = {text: i for i, text in enumerate(dict.fromkeys(candidates))}
    ranks = [sample.beside for sample in model.task.samples(model.model, model.readers, split, GenerateConfig(), None)]
    u, v = (model.task.vectors(model.model, model.readers, texts) for texts in (columns["question"], [*place]))
    assert [rank for rank, _ in ranks] == [
        int((v @ x > v[place[own]] @ x).sum()) + 1 for x, own in zip(u, columns["passage"], strict=True)
    ]


def test_slots_of_hard_negatives_count(runs: dict[str, Path]) -> None:
    model = td.load(runs["rank"], device="cpu")
    texts = ["ab" * (1 + i % 5) for i in range(40)]
    columns = Columns({"question": texts, "passage": texts, "negative": [t * (i % 2) for i, t in enumerate(texts)]})
    rows = model.task.examples(columns, model.readers).rows(BatchConfig(batch_tokens=150, max_length=16), drop=False)
    for group in rows.plan(np.random.default_rng(0)):
        batch = rows.build(group)
        assert batch.slots + (0 if batch.extra is None else batch.extra.inputs.numel()) <= 150
    longer = Columns({"question": ["a", "b"], "passage": ["a", "b"], "negative": ["a" * 40, ""]})
    dropped = model.task.examples(longer, model.readers).rows(BatchConfig(max_length=16), drop=True)
    assert [group.tolist() for group in dropped.fixed()] == [[0]]
    assert dropped.build(dropped.fixed()[0]).examples == (1,)


def test_hard_negatives_are_trained_on_and_shards_keep_them(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    texts = ["".join(draw.choice(list("abcdefgh"), 4)) for _ in range(60)]
    rows = [{"anchor": t, "positive": t.upper()} for t in texts]
    for i in (i for i in range(60) if i % 3):
        rows[i]["negative"] = texts[i][::-1].upper()
    rows[1]["negative"] = rows[1]["positive"]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    few = {key: x for key, x in SMALL.items() if not key.startswith("schedule")}
    few |= {"data.path": str(tmp_path / "a.jsonl"), "train.max_steps": 2, "train.accumulate": 2,
           "train.validate_every": 2, "batch.batch_tokens": 200, "schedule": "constant"}  # fmt: skip
    td.prepare("embed", few, out=tmp_path / "ids", processes=1)
    one, other = (
        td.train("embed", {**few, "name": name, "prepared": prepared}, out=tmp_path, quiet=True).path
        for name, prepared in (("memory", "never"), ("shards", str(tmp_path / "ids")))
    )
    logs = [(path / "metrics.jsonl").read_text() for path in (one, other)]
    assert logs[0] == logs[1]
    log = (one / "log.txt").read_text()
    assert "the negative is column 2 (`negative`) of a.jsonl, by its name" in log
    assert "negatives are the same text as what they stand beside" in log
    loss = json.loads([line for line in logs[0].splitlines() if "val_loss" in line][-1])["val_loss"]
    assert td.load(one, device="cpu").evaluate("valid").loss == pytest.approx(loss, rel=1e-5)
    (tmp_path / "a.jsonl").rename(tmp_path / "gone.jsonl")
    more = td.train("embed", {**few, "name": "alone", "prepared": str(tmp_path / "ids")}, out=tmp_path, quiet=True)
    assert (more.path / "metrics.jsonl").read_text() == logs[0], "without the files, shards say which columns there are"


def test_bm25_is_the_formula() -> None:
    texts = ["the cat sat", "The dog, the dog!", "a bird"]
    counts = [[("the", 1), ("cat", 1)], [("the", 2), ("dog", 2)], []]
    mean = (3 + 4 + 2) / 3
    expected = [0.0, 0.0, 0.0]
    for i, (length, own) in enumerate(zip((3, 4, 2), counts, strict=True)):
        for word, tf in own:
            if word in ("the", "cat"):
                n = {"the": 2, "cat": 1}[word]
                idf = math.log(1 + (3 - n + 0.5) / (n + 0.5))
                expected[i] += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / mean))
    assert Bm25(texts).scores("the CAT?").tolist() == pytest.approx(expected)
    assert Bm25([]).scores("x").shape == (0,)
    assert rank_of(np.array([1.0, 3.0, 3.0, 2.0]), 2) == 2
    assert rank_of(np.zeros(4), 3) == 4


def test_measures_of_ranks() -> None:
    samples = [Sample("", "", "x", None, ranks) for ranks in ((1, 4), (2, 1), (20, 2))]
    outcome = Outcome(0.0, 1, np.zeros((0, 2)), samples)
    measured = ReciprocalRank().of(outcome, 50)
    assert measured.value == pytest.approx((1 + 1 / 2 + 1 / 20) / 3)
    assert measured.baseline == ("BM25", pytest.approx((1 / 4 + 1 + 1 / 2) / 3))
    assert RecallAt1().of(outcome).value == pytest.approx(1 / 3)
    assert RecallAt10().of(outcome).value == pytest.approx(2 / 3)
