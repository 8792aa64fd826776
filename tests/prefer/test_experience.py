"""A model's own answers: repeatable, rewarded, and learnt from with the gradient of the expected reward."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import transduce
from transduce.cli.main import main
from transduce.errors import UserError
from transduce.objectives.grpo import Explored, GrpoConfig
from transduce.objectives.rloo import RlooConfig
from transduce.prefer.experience import Experience
from transduce.runs.run import Run
from transduce.training.train import build

SMALL = (
    "train.max_steps=6", "train.validate_every=3", "train.samples=4", "train.threads=1", "train.precision=fp32",
    "schedule.warmup_steps=1", "generate.max_new_tokens=3", "batch.batch_tokens=512", "batch.max_length=64",
)  # fmt: skip
EXPLORE = ("objective.prompts=3", "objective.group=4", "objective.max_new_tokens=3")
VOWELS = '''"""Rewards."""


def vowels(prompts, answers, expected):
    return [sum(c in "aeiou" for c in text) / max(len(text), 1) for text in answers]


def fails(prompts, answers, expected):
    return [1 / 0 for _ in answers]


def few(prompts, answers, expected):
    return [1.0]


def nan(prompts, answers, expected):
    return [float("nan")] * len(answers)


def equal(prompts, answers, expected):
    return [1.0] * len(answers)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explore")
    rows = [{"prompt": f"{c}?", "completion": c * 2} for c in "abcdefghijklmnop"]
    (out / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    model = ("tokenizer.kind=char", "model.width=64", "model.layers=1", "model.mixer.heads=2")
    words = ["sft", f"data.path={out / 'rows.jsonl'}", *model, *SMALL, "--out", str(out), "--quiet"]
    assert main(["train", *words]) == 0
    (out / "tests_rewards.py").write_text(VOWELS, "utf-8")
    return out


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))


def words(folder: Path, *more: str, kind: str = "grpo", name: str = "grpo") -> list[str]:
    own = [f"start={folder / 'sft'}", f"data.path={folder / 'rows.jsonl'}", f"name={name}"]
    return ["train", kind, *own, *SMALL, *EXPLORE, *more, "--out", str(folder)]


def reward(name: str) -> tuple[str, str]:
    return "task.reward.kind=function", f"task.reward.name=tests_rewards:{name}"


def job_of(folder: Path, *more: str, kind: str = "grpo") -> Any:
    pairs = [tuple(word.split("=", 1)) for word in words(folder, *more)[2:] if "=" in word]
    config, start = transduce.api.started(kind, pairs)  # type: ignore[attr-defined]
    run = Run(folder / f"job-{len(list(folder.iterdir()))}")
    run.path.mkdir()
    return build(run, config, torch.device("cpu"), start)


def test_a_roll_out_is_a_function_of_its_place(folder: Path) -> None:
    loader = job_of(folder).loader
    first, again, other = loader.batch(0, 1), loader.batch(0, 1), loader.batch(1, 1)
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.targets, again.targets)
    assert first.inputs.shape != other.inputs.shape or not torch.equal(first.inputs, other.inputs)
    assert len(first.inputs) == 12
    assert float(loader.kl) == pytest.approx(0.0, abs=1e-5), "the model at its start is not its own reference"
    places = [place for place, _ in zip((p for p, _ in loader.stream()), range(3), strict=False)]
    assert [tuple(place) for place in places] == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.parametrize("per", ["token", "sequence", "constant"])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_its_gradient_is_that_of_reinforce(folder: Path, per: str, beta: float) -> None:
    """By the formula in float64, answer by answer; and the same in parts and padded further."""
    job = job_of(folder, *reward("vowels"))
    model = job.model.double()
    batch = job.loader.batch(0, 0)
    drawn = torch.randn(batch.targets.shape, generator=torch.Generator().manual_seed(0)) - 2
    drawn = drawn.masked_fill(batch.targets < 0, 0.0)
    batch = batch._replace(extra=batch.extra._replace(reference=drawn))
    config = GrpoConfig(beta=beta, per=per, max_new_tokens=3)  # type: ignore[arg-type]

    def flat() -> torch.Tensor:
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    model.eval()
    model.zero_grad()
    total, count = torch.zeros((), dtype=torch.float64), 0.0
    logits = model.head(model.features(batch)).log_softmax(-1)
    for i in range(len(batch.inputs)):
        own = batch.targets[i] >= 0
        log_p = logits[i][own].gather(1, batch.targets[i][own][:, None])[:, 0]
        gap = drawn[i][own].double() - log_p
        each = -batch.extra.advantage[i].double() * log_p + beta * (gap.exp() - gap - 1)
        n = int(own.sum())
        total = total + each.sum() / {"token": 1, "sequence": max(n, 1), "constant": 3}[per]
        count += n if per == "token" else 1
    (total / count).backward()
    expected = flat()
    for parts in ([slice(0, 12)], [slice(0, 5), slice(5, 12)], [slice(i, i + 3) for i in range(0, 12, 3)]):
        model.zero_grad()
        model.train()
        losses = [config.build()(model, rows(batch, part)) for part in parts]
        sum(loss.total for loss in losses).backward()  # type: ignore[union-attr]
        found = flat() / sum(float(loss.count) for loss in losses)
        assert float((found - expected).norm() / expected.norm()) < 1e-6  # pyright: ignore[reportUnknownArgumentType]


def rows(batch: Any, part: slice) -> Any:
    extra = Explored(*(x[part] for x in batch.extra))
    layout = batch.layout.rows(torch.arange(len(batch.inputs))[part])
    return batch._replace(inputs=batch.inputs[part], targets=batch.targets[part], layout=layout, extra=extra)


def test_advantages() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.1, 0.1, 0.1, 0.1]], dtype=torch.float64)
    grpo, rloo = GrpoConfig().advantages(rewards), RlooConfig().advantages(rewards)
    assert grpo[1].tolist() == rloo[1].tolist() == [0.0] * 4, "a group without variance has a gradient"
    assert rloo[0].tolist() == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])
    assert grpo[0].tolist() == pytest.approx([0.75 / 0.5001, *[-0.25 / 0.5001] * 3])


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_a_group_without_variance_moves_nothing_but_by_the_kl(folder: Path, beta: float) -> None:
    job = job_of(folder, *reward("equal"))
    batch = job.loader.batch(0, 0)
    job.model.zero_grad()
    moved = batch._replace(extra=batch.extra._replace(reference=batch.extra.reference - 0.5 * (batch.targets >= 0)))
    GrpoConfig(beta=beta).build()(job.model, moved).total.backward()
    size = max(float(p.grad.abs().max()) for p in job.model.parameters() if p.grad is not None)
    assert (size > 0) == (beta > 0)


@pytest.mark.parametrize("kind", ["grpo", "rloo"])
def test_a_stopped_training_goes_on_bit_for_bit(folder: Path, kind: str) -> None:
    assert main([*words(folder, *reward("vowels"), kind=kind, name=f"{kind}-whole"), "--quiet"]) == 0
    steps: list[int] = []

    def stop(event: Any) -> None:
        steps.append(event.step)
        if len(steps) == 3:
            raise KeyError

    parts = words(folder, *reward("vowels"), kind=kind, name=f"{kind}-parts")
    pairs = [tuple(word.split("=", 1)) for word in parts[2:] if "=" in word]
    with pytest.raises(KeyError):
        transduce.train(kind, pairs, out=folder, quiet=True, watch=stop)  # pyright: ignore[reportArgumentType]
    assert main([*parts, "--quiet"]) == 0
    for name in ("checkpoints/step-00000006/model.safetensors", "metrics.jsonl"):
        one, other = ((folder / f"{kind}-{way}" / name).read_bytes() for way in ("parts", "whole"))
        assert one == other, name
    metrics = Run(folder / f"{kind}-whole").metrics[0]
    assert {"reward", "kl", "length", "cut", "flat", "entropy"} <= metrics.keys()
    assert isinstance(transduce.load(folder / f"{kind}-whole").chat("a?"), str)


def test_answers_are_those_of_the_weights_of_the_moment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What decoding holds of its answers is what the updated model holds of them."""
    seen: list[float] = []

    class Watched(Experience):
        def batch(self, epoch: int, index: int) -> Any:
            made = super().batch(epoch, index)
            seen.append(self.kl)
            return made

    monkeypatch.setattr("transduce.training.exploring.Experience", Watched)
    more = ("optimizer.learning_rate=0.05", "train.log_every=1", "objective.max_kl=null")
    assert main([*words(folder, *more, *reward("vowels"), name="moment"), "--quiet"]) == 0
    kl = [row["kl"] for row in Run(folder / "moment").metrics if "kl" in row]
    assert kl == pytest.approx(seen, abs=1e-3)
    assert max(kl) > 0.1


def test_answers_are_drawn_from_all_that_the_model_holds(folder: Path) -> None:
    """Also tokens that no text has, to which a model would else move the probability of worse answers."""
    loader = job_of(folder).loader
    drawn = {
        i for index in range(20) for row in loader.answers(loader.inputs, 0, index) for one in row for i in one.ids
    }
    barred = loader.readers.text.barred
    assert len(barred) > 1
    assert barred <= drawn, "of a model that was hardly trained, for which all tokens are about as likely"


def test_it_learns_and_stops_where_it_has_gone_too_far(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("train.max_steps=60", "optimizer.learning_rate=0.02", "objective.max_kl=4", "train.log_every=1")
    assert main(words(folder, *more, *reward("vowels"), name="far")) == 0
    rows = [row for row in Run(folder / "far").metrics if "reward" in row]
    assert np.mean([row["reward"] for row in rows[-3:]]) > np.mean([row["reward"] for row in rows[:3]]) + 0.2
    assert len(rows) < 60
    assert "beyond objective.max_kl=4, so the training stops" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fails", "the reward tests_rewards:fails failed (ZeroDivisionError: division by zero), with "),
        ("few", "the reward gave 1 numbers for 12 answers"),
        ("nan", "is nan, but a finite number is asked for"),
        ("nothing", "tests_rewards has no function nothing"),
    ],
)
def test_rewards_that_are_refused(folder: Path, name: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(folder, *reward(name), name=f"bad-{name}"), "--quiet"]) == 2
    assert says in capsys.readouterr().err


def test_what_else_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, says in (
        (("task=chat",), "which task=chat does not have; use task=explore"),
        (("objective.group=1",), "objective.group=1 leaves nothing to compare an answer with"),
        (("task.reward.kind=function", "task.reward.name=length"), "is no function; write MODULE:FUNCTION"),
        (("task.reward.kind=function", "task.reward.name=nowhere_at_all:f"), "cannot be imported (ModuleNotFoundError"),
    ):
        assert main([*words(folder, *more, name="odd"), "--quiet"]) == 2
        assert says in capsys.readouterr().err
    with pytest.raises(UserError, match=r"max_kl=0\.0 would stop every training"):
        GrpoConfig(max_kl=0.0)


def test_a_prompt_without_room_for_an_answer_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the first update; a model from scratch, since positions of `sft` have no limit."""
    own = (f"data.path={folder / 'rows.jsonl'}", "tokenizer.kind=char", "model.layers=1", "model.mixer.heads=2")
    limit = ("model.positions.kind=learned", "model.positions.limit=64", "objective.max_new_tokens=60", "name=long")
    assert main(["train", "grpo", *own, *SMALL, *EXPLORE, *limit, "--out", str(folder), "--quiet"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "objective.max_new_tokens=60 more do not fit the 64 positions of the model; shorten one of them" in said
    assert "prompt 1 has " in said
    assert not (folder / "long" / "checkpoints").exists()


def test_rewards_that_teach_nothing_are_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("train.max_steps=12", *reward("equal"))
    assert main([*words(folder, *more, name="flat"), "--quiet"]) == 0
    assert "got the same reward in 10 roll-outs, so nothing was learnt" in " ".join(capsys.readouterr().err.split())
