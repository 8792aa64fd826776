"""A model's own answers to a source: rewarded, and learnt from, as those of a model without one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce.cli.main import main
from transduce.runs.run import Run
from transduce.training.train import build

SMALL = (
    "train.max_steps=6", "train.validate_every=3", "train.samples=4", "train.threads=1", "train.precision=fp32",
    "schedule.warmup_steps=1", "generate.max_new_tokens=4", "batch.batch_tokens=512", "batch.max_length=64",
    "tokenizer.kind=char", "model.width=32",
)  # fmt: skip
MODELS = {
    "attention": ("model.layers=1", "model.mixer.heads=2"),
    "gru": ("model=bahdanau-2014", "model.layers=1"),
}
EXPLORE = ("objective.prompts=3", "objective.group=4", "objective.max_new_tokens=4")
BY_VOWELS = ("task.reward.kind=function", "task.reward.name=tests_risk:vowels", "train.samples=4")


@pytest.fixture(scope="module", params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("risk")
    rows = [f"{a}{b} {b}?\t{b}{a}" for a in "abcd" for b in "efgh"]
    (out / "rows.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    words = ["pairs", f"data.path={out / 'rows.tsv'}", *SMALL, *MODELS[request.param], "--out", str(out), "--quiet"]
    assert main(["train", *words]) == 0
    text = "def vowels(prompts, answers, expected):\n    return [sum(c in 'ae' for c in text) for text in answers]\n"
    (out / "tests_risk.py").write_text(text, "utf-8")
    return out


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))


def pairs(folder: Path, *more: str, name: str) -> list[tuple[str, str]]:
    own = [f"start={folder / 'pairs'}", f"data.path={folder / 'rows.tsv'}", f"name={name}"]
    small = [word for word in SMALL if not word.startswith(("tokenizer", "model"))]
    return [tuple(word.split("=", 1)) for word in (*own, *small, *EXPLORE, *more)]  # type: ignore[misc]


def test_the_gradient_is_that_of_reinforce(folder: Path) -> None:
    """And what decoding held of the answers, the model at its start holds of them, source and all."""
    config, start = td.api.started("minimum-risk", pairs(folder, *BY_VOWELS, name="job"))  # type: ignore[attr-defined]
    run = Run(folder / "job")
    run.path.mkdir()
    job: Any = build(run, config, torch.device("cpu"), start)
    batch, model = job.loader.batch(0, 0), job.model.double()
    assert float(job.loader.kl) == pytest.approx(0.0, abs=1e-5)
    assert batch.source is not None
    assert len(batch.source) == len(batch.inputs) == 12
    assert len({float(x) for x in batch.extra.reward}) > 1
    model.eval()
    log_p = model.head(model.features(batch)).log_softmax(-1)
    own = batch.targets >= 0
    each = log_p.gather(2, batch.targets.clamp(min=0)[:, :, None])[:, :, 0].where(own, 0.0).sum(1)
    expected = torch.autograd.grad(-(batch.extra.advantage.double() * each).sum() / own.sum(), [*model.parameters()])
    loss = config.objective.build()(model, batch)
    found = torch.autograd.grad(loss.total / loss.count, [*model.parameters()])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("kind", ["grpo", "ppo"])
def test_a_stopped_training_goes_on_bit_for_bit(folder: Path, kind: str) -> None:
    more = [f"objective.kind={kind}", *BY_VOWELS]
    if kind == "ppo":  # an answer is learnt from several times, so a checkpoint holds it with its source
        more += ["objective.epochs=2", "objective.minibatches=2", "model.heads.value.kind=value", "objective.scale=std"]
    for name, stops in (("whole", 0), ("parts", 3)):
        seen: list[int] = []

        def stop(event: Any, seen: list[int] = seen, stops: int = stops) -> None:
            seen.append(event.step)
            if len(seen) == stops:
                raise KeyError

        given = pairs(folder, *more, name=f"{kind}-{name}")
        if stops:
            with pytest.raises(KeyError):
                td.train("minimum-risk", given, out=folder, quiet=True, watch=stop)
        td.train("minimum-risk", given, out=folder, quiet=True)
    for name in ("checkpoints/step-00000006/model.safetensors", "metrics.jsonl"):
        one, other = ((folder / f"{kind}-{way}" / name).read_bytes() for way in ("parts", "whole"))
        assert one == other, name
    assert "reward" in Run(folder / f"{kind}-whole").metrics[0]
    result = json.loads((folder / f"{kind}-whole" / "result.json").read_text("utf-8"))
    assert result["metric"] == "reward"
    assert {"reward", "exact"} <= result["valid"].keys()
    assert isinstance(td.load(folder / f"{kind}-whole").translate(["ab e?"])[0], str)


def test_it_learns(folder: Path) -> None:
    more = ("train.max_steps=12", "optimizer.learning_rate=0.01", "objective.max_kl=1000", *BY_VOWELS)
    run = td.train("minimum-risk", pairs(folder, *more, name="far"), out=folder, quiet=True)
    rewards = [row["reward"] for row in run.metrics if "reward" in row]
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 1.0


def test_a_source_that_is_too_long_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "long.tsv").write_text("ab\tba\n" * 40 + f"{'ab' * 20}\tba\n" * 4, "utf-8")
    own = (f"data.path={folder / 'long.tsv'}", "model.layers=1", "model.mixer.heads=2", "name=long")
    limit = ("model.positions.kind=learned", "model.positions.limit=16", "batch.max_length=16", "batch.overlong=drop")
    assert main(["train", "minimum-risk", *own, *SMALL, *EXPLORE, *limit, "--out", str(folder), "--quiet"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "but this model can read 16; shorten it, or take it out of the data" in said
