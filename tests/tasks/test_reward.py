"""Rewards: learnt from pairs, and given alike by the command, Python and validation."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce
from transduce.cli.main import main
from transduce.data.columns import Columns
from transduce.data.loader import BatchConfig
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.objectives.reward import RewardObjectiveConfig
from transduce.tasks.measures.measure import Outcome, Sample
from transduce.tasks.measures.preference import PairAccuracy
from transduce.tasks.reward import RewardConfig
from transduce.text.char import Char

SMALL = (
    "model.width=16", "model.mixer.heads=2", "tokenizer.kind=char", "train.max_steps=40", "train.validate_every=20",
    "train.threads=1", "train.precision=fp32", "batch.batch_tokens=512", "batch.max_length=64", "train.ema=null",
    "optimizer.learning_rate=0.01", "model.residual.dropout=0", "model.head.dropout=0", "data.valid_fraction=0.3",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward of answers that say please."""
    folder = tmp_path_factory.mktemp("reward")
    rows = [{"prompt": f"{i}?", "chosen": f"{i} please", "rejected": f"{i} you fool"} for i in range(40)]
    (folder / "pairs.json").write_text(json.dumps(rows), "utf-8")
    words = ["reward", f"data.path={folder / 'pairs.json'}", *SMALL, "--out", str(folder), "--quiet"]
    assert main(["train", *words]) == 0
    return folder / "reward"


def test_it_learns_and_every_way_gives_the_same(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = transduce.load(run)
    seen = model.evaluate("valid")
    assert seen.values["pair-accuracy"].value > 0.9
    assert seen.values["pair-accuracy"].baseline == ("taking the longer answer", 0.0)
    pairs = [("7?", "7 please"), ("7?", "7 you fool"), ("7?", "")]
    rewards = model.reward(pairs)
    assert rewards[0] > rewards[1]
    (tmp_path / "lines.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), "utf-8")
    assert main(["score", str(run), str(tmp_path / "lines.tsv"), "--reward"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [float(row[0]) for row in rows] == pytest.approx(rewards, abs=2e-6)
    assert [tuple(row[1:]) for row in rows] == pairs
    assert main(["score", str(run), str(tmp_path / "lines.tsv"), "--reward", "--json"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first == {"prompt": "7?", "answer": "7 please", "reward": pytest.approx(rewards[0], abs=1e-5)}
    talk = [{"role": "user", "content": "7?"}, {"role": "assistant", "content": "7 please"}]
    assert model.predict([talk]) == pytest.approx(rewards[:1], abs=1e-5)


def test_what_is_refused(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "lines.tsv").write_text("no tab\n", "utf-8")
    assert main(["score", str(run), str(tmp_path / "lines.tsv"), "--reward"]) == 2
    assert "line 1: there are 0 tabs; write prompt<TAB>answer" in capsys.readouterr().err
    assert main(["chat", str(run), "a"]) == 2
    assert "trained for task=reward, not on conversations; use predict" in capsys.readouterr().err
    columns = Columns({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]})
    examples = RewardConfig().examples(columns, Readers(Char().train(["user\nassistant abc"])))
    with pytest.raises(UserError, match="a reward is of one; leave it out"):
        examples.rows(BatchConfig(packing=True), drop=False)
    with pytest.raises(UserError, match="must not be negative"):
        RewardObjectiveConfig(centre=-1.0)


def test_its_loss_is_that_of_bradley_and_terry(run: Path) -> None:
    """The loss of each pair from its two rewards, in float64, and its gradient by the chain rule."""
    model = transduce.load(run)
    columns = Columns({"prompt": ["3?", "4?"], "chosen": ["3 please", "4"], "rejected": ["3", "4 you fool"]})
    examples = model.task.examples(columns, model.readers)
    exact = model.model.double().eval()
    task: Any = model.task
    flat = [("3?", "3 please"), ("3?", "3"), ("4?", "4"), ("4?", "4 you fool")]
    rewards = [float(x) for x in task.reward(exact, model.readers, flat)]
    margins = [rewards[0] - rewards[1], rewards[2] - rewards[3]]
    expected = sum(math.log1p(math.exp(-m)) for m in margins) + 0.01 * sum(
        (a + b) ** 2 for a, b in (rewards[:2], rewards[2:])
    )
    for tokens in (64, 4096):
        rows = examples.rows(BatchConfig(batch_tokens=tokens, max_length=64), drop=False)
        losses = [RewardObjectiveConfig().build()(exact, rows.build(group)) for group in rows.fixed()]
        assert sum(float(one.total.detach()) for one in losses) == pytest.approx(expected, rel=1e-9)
        assert sum(int(one.count) for one in losses) == 2
        assert sum(float(one.metrics["preferred"]) for one in losses) == sum(m > 0 for m in margins)
    assert torch.is_grad_enabled()


def test_pair_accuracy() -> None:
    samples = [Sample("q", "good", "good"), Sample("q", "well", "ill")]
    measured = PairAccuracy().of(Outcome(0.0, 2, None, samples, ["a", "longer"]))  # type: ignore[arg-type]
    assert measured.value == 0.5
    assert measured.baseline == ("taking the longer answer", 0.5)
    assert PairAccuracy().of(Outcome(0.0, 2, None, samples, ["a"])).baseline is None  # type: ignore[arg-type]
    assert PairAccuracy().text(0.5) == "50.00%"
