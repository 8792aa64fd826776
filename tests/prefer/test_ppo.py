"""Proximal policy optimisation: its advantages, its gradient, and its updates from the same answers after a stop."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import transduce
from transduce.cli.main import main
from transduce.errors import UserError
from transduce.model.layout import left_padded
from transduce.model.state import over
from transduce.objectives.ppo import Played, PpoConfig, gae
from transduce.prefer.rollout import rolled
from transduce.runs.run import Run
from transduce.training.train import build

SMALL = (
    "train.max_steps=10", "train.validate_every=5", "train.samples=4", "train.threads=1", "train.precision=fp32",
    "schedule.warmup_steps=1", "generate.max_new_tokens=3", "batch.batch_tokens=512", "batch.max_length=64",
)  # fmt: skip
EXPLORE = ("objective.prompts=3", "objective.group=4", "objective.max_new_tokens=3", "objective.minibatches=2")
VOWELS = '''"""Rewards."""


def vowels(prompts, answers, expected):
    return [sum(c in "aeiou" for c in text) / max(len(text), 1) for text in answers]
'''
REWARD = ("task.reward.kind=function", "task.reward.name=ppo_rewards:vowels")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("play")
    rows = [{"prompt": f"{c}?", "completion": c * 2} for c in "abcdefghijklmnop"]
    (out / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    model = ("tokenizer.kind=char", "model.width=32", "model.layers=1", "model.mixer.heads=2")
    words = ["sft", f"data.path={out / 'rows.jsonl'}", *model, *SMALL, "--out", str(out), "--quiet"]
    assert main(["train", *words]) == 0
    (out / "ppo_rewards.py").write_text(VOWELS, "utf-8")
    return out


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))


def words(folder: Path, *more: str, name: str = "ppo") -> list[str]:
    own = [f"start={folder / 'sft'}", f"data.path={folder / 'rows.jsonl'}", f"name={name}"]
    return ["train", "ppo", *own, *SMALL, *EXPLORE, *REWARD, *more, "--out", str(folder), "--quiet"]


def pairs(words: list[str]) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (word.partition("=") for word in words[2:]) if value]


def job_of(folder: Path, *more: str) -> Any:
    config, start = transduce.api.started("ppo", pairs(words(folder, *more)))  # type: ignore[attr-defined]
    run = Run(folder / f"job-{len(list(folder.iterdir()))}")
    run.path.mkdir()
    return build(run, config, torch.device("cpu"), start)


def test_advantages_are_the_sums_of_the_paper_whatever_stands_around_them() -> None:
    """Schulman et al. 2016, eq. 16 as a sum over all later steps, in float64, step by step."""
    draw = torch.Generator().manual_seed(0)
    rewards, values = (torch.randn(4, 9, generator=draw, dtype=torch.float64) for _ in range(2))
    own = torch.zeros(4, 9, dtype=torch.bool)
    for row, (start, stop) in enumerate(((0, 9), (2, 7), (4, 5), (0, 0))):
        own[row, start:stop] = True
    found = gae(rewards, values, own, 0.9, 0.8)
    for row in range(4):
        at = own[row].nonzero()[:, 0].tolist()
        for i, t in enumerate(at):
            after = [*(float(values[row, u]) for u in at[1:]), 0.0]
            errors = [float(rewards[row, u]) + 0.9 * after[k] - float(values[row, u]) for k, u in enumerate(at)]
            expected = sum((0.9 * 0.8) ** k * error for k, error in enumerate(errors[i:]))
            assert float(found[row, t]) == pytest.approx(expected, abs=1e-12)
    assert not found[~own].any()


def rows_of(batch: Any, part: slice) -> Any:
    layout = batch.layout.rows(torch.arange(len(batch.inputs))[part])
    extra = over(batch.extra, lambda x: x[part])
    return batch._replace(inputs=batch.inputs[part], targets=batch.targets[part], layout=layout, extra=extra)


def left(batch: Any) -> Any:
    """The same rows, padded on the left."""
    lengths, width = batch.layout.valid.sum(1), batch.inputs.shape[1] + 2
    order = torch.arange(width) - (width - lengths)[:, None]

    def moved(x: Tensor, fill: float) -> Tensor:
        return x.gather(1, order.clamp(min=0)).masked_fill(order < 0, fill)

    extra = Played(*(moved(x, 0.0) if x.ndim == 2 else x for x in batch.extra))
    inputs, targets = moved(batch.inputs, 0), moved(batch.targets, -1)
    return batch._replace(inputs=inputs, targets=targets, layout=left_padded(lengths, width), extra=extra)


def gradient(model: Any, config: PpoConfig, batches: list[Any]) -> Tensor:
    model.zero_grad()
    model.train()
    losses = [config.build()(model, batch) for batch in batches]
    sum(loss.total for loss in losses).backward()  # type: ignore[union-attr]
    return flat(model) / sum(float(loss.count) for loss in losses)


def flat(model: Any) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("per", ["token", "sequence", "constant"])
@pytest.mark.parametrize("moved", [False, True])
def test_its_gradient_is_the_formula(folder: Path, per: str, moved: bool) -> None:
    """Of REINFORCE with a baseline where nothing has moved yet; else of what is not clipped, answer by answer.

    The same in 1, 2 and 4 parts and padded on either side; the last row has no target at all.
    """
    job = job_of(folder, "objective.minibatches=1", f"objective.per={per}")
    model, batch = job.model.double(), job.loader.batch(0, 0)
    torch.nn.init.normal_(model.heads["value"].output.weight, std=0.3)
    batch = batch._replace(targets=batch.targets.index_fill(0, torch.tensor([11]), -1))
    own, draw = batch.targets >= 0, torch.Generator().manual_seed(0)
    model.eval()
    hidden = model.features(batch)
    log_p = model.head(hidden).log_softmax(-1).gather(-1, batch.targets.clamp(min=0)[..., None])[..., 0]
    value = model.heads["value"](hidden)[..., 0]
    noise = [torch.randn(own.shape, generator=draw, dtype=torch.float64) * 0.3 * moved for _ in range(2)]
    old, before = (x.detach() + y for x, y in zip((log_p, value), noise, strict=True))
    returns, advantage = before + 1.0, batch.extra.advantage.double()
    parts = [x.masked_fill(~own, 0.0) for x in (old, old - 0.5, before, returns, advantage)]
    batch = batch._replace(extra=Played(*parts, batch.extra.reward, batch.extra.cut))  # type: ignore[arg-type]
    config = PpoConfig(per=per, max_new_tokens=3, value_weight=0.7)  # type: ignore[arg-type]

    total, count = torch.zeros((), dtype=torch.float64), 0.0
    for i in range(len(own)):
        each = torch.zeros((), dtype=torch.float64)
        for t in own[i].nonzero()[:, 0].tolist():
            ratio, gain = float((log_p[i, t] - old[i, t]).detach().exp()), float(advantage[i, t])
            far = ratio > 1.2 if gain > 0 else ratio < 0.8
            each = each - (0.0 if far else gain * ratio) * log_p[i, t]  # the gradient of gain * ratio
            error, step = value[i, t] - returns[i, t], float((value[i, t] - before[i, t]).detach())
            still = abs(step) > 0.2 and abs(float(before[i, t] - returns[i, t]) + np.sign(step) * 0.2) > abs(
                float(error.detach())
            )
            each = each + (0.0 if still else 0.7 / 2) * error.square()
        n = int(own[i].sum())
        total = total + each / {"token": 1, "sequence": max(n, 1), "constant": 3}[per]
        count += n if per == "token" else 1
    model.zero_grad()
    (total / count).backward()
    expected = flat(model)
    for sizes in ([12], [5, 7], [3, 3, 3, 3]):
        starts = np.cumsum([0, *sizes])
        for side in (batch, left(batch)):
            some = [rows_of(side, slice(a, b)) for a, b in itertools.pairwise(starts)]
            found = gradient(model, config, some)
            assert float((found - expected).norm() / expected.norm()) < 1e-6


def test_a_roll_out_is_parted_without_a_rest_and_kept_bit_for_bit(folder: Path) -> None:
    job = job_of(folder, "objective.minibatches=5")
    loader = job.loader
    assert loader.size(0) == len(loader.inputs.prompts) // 3 * 2 * 5
    whole = loader.roll(0, 1)
    batches = [loader.batch(0, 10 + i) for i in range(10)]
    for some in (batches[:5], batches[5:]):
        assert sorted(row for batch in some for row in batch.examples) == sorted(whole.batch.examples)
        assert sum(len(batch.inputs) for batch in some) == 12
    assert [b.examples for b in batches[:5]] != [b.examples for b in batches[5:]]
    again = rolled(loader.rolled.tensors(), Played)
    assert (again.place, again.kl, again.batch.examples) == (whole.place, whole.kl, whole.batch.examples)
    for one, other in zip(over(again.batch[:7], lambda x: x), over(whole.batch[:7], lambda x: x), strict=True):
        assert str(one) == str(other)
    assert all(torch.equal(a, b) for a, b in zip(again.batch.extra, whole.batch.extra, strict=True))
    played = whole.batch.extra
    own = whole.batch.targets >= 0
    assert float(played.advantage[own].mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(played.advantage[own].std()) == pytest.approx(1.0, abs=1e-2)
    torch.testing.assert_close(played.old, played.reference, atol=1e-5, rtol=0)
    assert not played.value.any(), "what is expected starts at 0"


@pytest.mark.parametrize("stop", [3, 4, 7])
def test_stopped_between_updates_from_the_same_answers_it_goes_on_bit_for_bit(folder: Path, stop: int) -> None:
    more = ("train.accumulate=2", "objective.minibatches=3")
    if not (folder / "whole").exists():
        assert main(words(folder, *more, name="whole")) == 0

    def watch(event: Any) -> None:
        if event.step == stop:
            raise KeyError

    parts = words(folder, *more, name=f"parts-{stop}")
    with pytest.raises(KeyError):
        transduce.train("ppo", pairs(parts), out=folder, quiet=True, watch=watch)
    kept = folder / f"parts-{stop}" / "last" / "answers.safetensors"
    assert kept.exists() == (stop % 3 > 0)
    assert main(parts) == 0
    for name in ("checkpoints/step-00000010/model.safetensors", "metrics.jsonl"):
        one, other = ((folder / way / name).read_bytes() for way in (f"parts-{stop}", "whole"))
        assert one == other, name


def test_it_learns_what_to_expect_and_more_reward_and_stops(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("train.max_steps=160", "optimizer.learning_rate=0.01", "objective.max_kl=4", "train.log_every=1")
    assert main([*words(folder, *more, "train.validate_every=160", "objective.beta=0", name="far")]) == 0
    rows = [row for row in Run(folder / "far").metrics if "reward" in row]
    assert {"kl", "length", "cut", "clipped", "value_error", "entropy"} <= rows[0].keys()
    assert np.mean([row["reward"] for row in rows[-4:]]) > np.mean([row["reward"] for row in rows[:4]]) + 0.2
    assert len(rows) < 160
    assert "beyond objective.max_kl=4" in (folder / "far" / "log.txt").read_text("utf-8")
    assert isinstance(transduce.load(folder / "far").chat("a?"), str)
    pytest.importorskip("transformers")
    assert main(["export", str(folder / "far"), str(folder / "exported")]) == 0, "what is expected is not exported"


@pytest.mark.parametrize("kind", ["grpo", "ppo"])
def test_the_more_a_departure_counts_the_nearer_a_policy_stays(kind: str, folder: Path) -> None:
    far = list[float]()
    for beta in (0.0, 0.1, 1.0):  # beyond that, what is left of ppo's KL is how much single updates jitter
        name = f"{kind}-{beta}"
        more = (f"objective.beta={beta}", "objective.max_kl=null", "optimizer.learning_rate=0.01", "train.log_every=1")
        given = words(folder, *more, "train.max_steps=48", "train.validate_every=48", name=name)
        given = [word for word in given if kind == "ppo" or "minibatches" not in word]
        assert main(["train", kind, *given[2:]]) == 0
        rows = [row["kl"] for row in Run(folder / name).metrics if "kl" in row]
        far.append(float(np.mean(rows[-12:])))
    assert far == sorted(far, reverse=True), far


def test_what_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grpo = ["train", "grpo", *words(folder, "objective.kind=ppo", name="odd")[2:]]
    assert main(grpo) == 2
    assert "the model has no heads.value; set model.heads.value.kind=value" in capsys.readouterr().err
    for key, value, says in (
        ("minibatches", 65, "objective.minibatches=65 are more than the 64 answers of a roll-out"),
        ("ratio_clip", 0.0, r"objective.ratio_clip=0\.0 would stop every training"),
        ("lam", 1.5, "must be from 0 to 1"),
        ("value_weight", -1.0, "must not be negative"),
    ):
        with pytest.raises(UserError, match=says):
            PpoConfig(**{key: value})
