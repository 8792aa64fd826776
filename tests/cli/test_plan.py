"""plan and doctor: what they print, and that they leave nothing behind."""

import re
from pathlib import Path

import pytest

from transduce import api

from .conftest import DATES


def test_plan_counts_and_times_and_writes_nothing(cli, monkeypatch) -> None:
    monkeypatch.setattr("transduce.inspect.plan.probe.__defaults__", (0.2,))
    found = cli("plan", *DATES)
    assert found.code == 0, found.err
    assert "encoder embedding = decoder embedding = head" in found.out
    for fact in ("forward", "training", "weights", "gradients", "optimizer", "activations", "per token of the source"):
        assert re.search(rf"\n  (  of which )?{fact}\b.* \d", found.out), fact
    measured = r"tokens per second +[\d,]+ \(.*FLOP/s; measured over \d+ updates on cpu\)"
    assert re.search(measured, re.sub(r"\s+", " ", found.out))  # a line may be broken
    assert re.search(r"of the process, with libraries and data +[\d.]+ [MG]iB", found.out)
    assert re.search(r"time +\d+:\d\d, and validation on top", found.out)
    assert not re.search(r" $", found.out, re.MULTILINE)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("changes", [{"train.seed": 5}, {"batch.batch_tokens": 2000}])
def test_work_per_token_depends_neither_on_the_order_nor_on_padding(changes: dict[str, int]) -> None:
    base = {"data.train_size": 200, "data.valid_size": 8, "data.test_size": 8, "model.width": 16}
    one, other = (api.plan("dates", {**base, **more}, probe=False).costs for more in ({}, changes))
    work = [(c.tokens, c.forward_flops, c.training_flops) for c in (one, other)]
    assert work[0] == work[1]


def test_what_does_not_move_has_neither_gradients_nor_moments() -> None:
    base = {"data.train_size": 200, "data.valid_size": 8, "data.test_size": 8, "model.width": 32, "train.ema": 0.9}
    whole, biases = (api.plan("dates", {**base, "tune": tune}, probe=False) for tune in ("full", "bitfit"))
    assert whole.costs.weights == biases.costs.weights == whole.costs.gradients == whole.average
    assert 0 < biases.costs.gradients < whole.costs.gradients / 4
    assert biases.costs.optimizer < whole.costs.optimizer / 4
    assert biases.memory < whole.memory
    assert whole.costs.update > whole.costs.activations
    assert whole.process > whole.memory


def test_plan_without_a_probe(cli) -> None:
    found = cli("plan", *DATES, "--no-probe", "--train.ema", "0.9")
    assert found.code == 0, found.err
    assert "tokens per second" not in found.out
    assert "average of the weights" in found.out


def test_plan_refuses_what_train_refuses(cli) -> None:
    assert "did you mean `model.width`?" in cli("plan", "model.widht=3").err
    assert "choose model.kind=encoder-decoder" in cli("plan", *DATES[:4], "model.kind=decoder").err


def test_doctor_shows_the_data_and_a_preview(cli) -> None:
    found = cli("doctor", *DATES, "--preview", "2")
    assert found.code == 0, found.err
    assert re.search(r"│ examples +│ +200 │ +8 │ +8 │", found.out)
    assert "tokens of a source, train: mean" in found.out
    assert "█" in found.out
    assert not re.search(r" $", found.out, re.MULTILINE)
    assert len(re.findall(r"  target  <s>\d{4}-\d\d-\d\d</s>", found.out)) == 2
    assert list(Path().iterdir()) == []


def test_doctor_warns(cli, tmp_path: Path) -> None:
    rows = [f"{'word ' * n}\t{'wort ' * n}" for n in range(1, 40)] + ["same\tsame"] * 20 + ["\tempty"]
    (tmp_path / "train.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    (tmp_path / "valid.tsv").write_text("word \twort \nnew\tneu\n", "utf-8")
    words = ["pairs", f"data.path={tmp_path}", "tokenizer.kind=char", "batch.max_length=50"]
    found = cli("doctor", *words)
    assert found.code == 0, found.err
    warnings = [line for line in found.out.splitlines() if line.startswith("! ")]
    for told in (
        "longer than batch.max_length",
        "empty texts",
        "copies of their source",
        "repeats",
        "stand in train too",
    ):
        assert any(told in line for line in warnings), (told, warnings)
    assert "nothing suspicious" not in found.out


@pytest.mark.parametrize("unit", ["file", "line"])
def test_of_large_data_a_sample_is_looked_at(unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transduce.data import thinned
    from transduce.data.prepared import part

    path, shards = tmp_path / "some.txt", tmp_path / "shards"
    path.write_text("".join(f"line {i} of {'many ' * (i % 7)}lines\n" for i in range(3000)))
    over = {"data.path": str(path), "data.unit": unit, "tokenizer": "byte", "model.width": 32, "model.layers": 1}
    over |= {"schedule.warmup_steps": 5}
    whole, planned = api.doctor("text", over), api.plan("text", over, probe=False)
    api.prepare("text", over, out=shards, processes=1)
    exact = api.doctor("text", {**over, "prepared": str(shards)})
    assert exact.splits == whole.splits
    assert exact.looked_at[0].startswith(f"train has {whole.splits['train'].examples:,} rows")
    for name, value in {"LARGE": 10_000, "SAMPLE": 30_000, "PART": 2_000}.items():
        monkeypatch.setattr(thinned, name, value)
    monkeypatch.setattr(part, "TOKENS", 20_000)
    monkeypatch.setattr(part, "PART", 2_000)
    for some in (api.doctor("text", over), api.doctor("text", {**over, "prepared": str(shards)})):
        ours, all_ = some.splits["train"].columns, whole.splits["train"].columns
        for name in ours:
            assert 10_000 < ours[name].tokens < 0.6 * all_[name].tokens
            if unit == "line":
                assert ours[name].mean == pytest.approx(all_[name].mean, rel=0.05)
    estimate = api.plan("text", {**over, "train.max_epochs": 2}, probe=False)
    assert estimate.batches == pytest.approx(planned.batches, rel=0.15)
    assert estimate.recipe.train.max_steps == 2 * estimate.batches
    assert "looked at a sample: 0.0 of 0.1 MB of text" in estimate.sample[0]
