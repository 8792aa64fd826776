"""Planning: what is played does not depend on the others, and follows from what was seen alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import transduce
from transduce import api
from transduce.config import from_data
from transduce.data.columns import Columns
from transduce.data.episodes import Episodes
from transduce.data.loader import BatchConfig
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.models import Model
from transduce.objectives.language import NextTokenConfig
from transduce.tasks.acting import play
from transduce.tasks.plan import PlanConfig
from transduce.tasks.planner import after
from transduce.worlds.graph import GraphConfig

WORLD = GraphConfig(episodes=40)
SMALL: dict[str, Any] = {"horizon": 2, "beam_size": 3, "branches": 3, "context": 6}
MIXERS = ("attention", "lstm", "gated-delta", "ssm")


def built(mixer: str, **more: Any) -> tuple[PlanConfig, Model, Readers]:
    """A model with random weights, and its readers."""
    task = PlanConfig(world=WORLD, **{**SMALL, **more})
    readers = Readers(None, task.readers(Episodes(world=WORLD).load()["train"]))
    data = {"width": 32, "layers": 1, "mixer": mixer, "positions": {"kind": "learned", "limit": 24}}
    model = from_data(DecoderConfig, data).build(task.size(readers)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=p.dtype)
    return task, model, readers


@pytest.mark.parametrize("discount", [1.0, 0.7])
def test_a_value_is_what_is_earned_later(discount: float) -> None:
    rewards = np.random.default_rng(0).normal(size=(9, 1))
    expected = [sum(discount ** (s - t - 1) * rewards[s, 0] for s in range(t + 1, 9)) for t in range(9)]
    assert np.allclose(after(rewards, discount)[:, 0], expected)


def test_a_reward_at_the_end_and_its_value_are_two_numbers() -> None:
    columns = Columns({"states": [[[0.5], [0.1]]], "actions": [[0, 1]], "rewards": [[0, 1]]})
    task = PlanConfig(**SMALL)
    tokens = task.examples(columns, Readers(None, task.readers(columns)))
    assert tokens.code.sizes == (2, 2, 2, 2)
    assert (tokens.tokens.flat - tokens.code.starts).tolist() == [[1, 0, 0, 1], [0, 1, 1, 0]]


@pytest.mark.parametrize("mixer", MIXERS)
def test_an_episode_is_played_as_it_is_alone(mixer: str) -> None:
    task, model, readers = built(mixer)
    many = play(task, model, readers, WORLD, episodes=5)
    assert len({tuple(one.episode.actions.tolist()) for one in many}) > 1
    for count in (1, 3):
        for ours, other in zip(play(task, model, readers, WORLD, episodes=count), many, strict=False):
            assert np.array_equal(ours.episode.actions, other.episode.actions)
            assert np.array_equal(ours.episode.rewards, other.episode.rewards)


def test_recorded_episodes_get_the_actions_that_were_played() -> None:
    """Episodes of more steps than the model reads, too: in both ways it reads the last ones."""
    task, model, readers = built("attention")
    episodes = [one.episode for one in play(task, model, readers, WORLD, episodes=6)]
    assert max(len(one.rewards) for one in episodes) == 10
    inputs = [[x.tolist() for x in one] for one in episodes]
    answers = task.predict(model, readers, inputs, None)  # type: ignore[arg-type]
    assert answers == [one.actions.tolist() for one in episodes]
    assert task.predict(model, readers, [json.dumps(inputs[3])], None) == [answers[3]]  # type: ignore[arg-type]


@pytest.mark.parametrize("mixer", MIXERS)
def test_losses_and_gradients_of_padded_rows_are_those_of_rows_alone(mixer: str) -> None:
    task, model, readers = built(mixer)
    examples = task.examples(Episodes(world=WORLD).load()["valid"], readers)
    sums = list[list[torch.Tensor]]()
    for tokens in (24, 400):
        rows, model = examples.rows(BatchConfig(batch_tokens=tokens, max_length=24), drop=False), model.double()
        batches = [rows.build(group) for group in rows.fixed()]
        losses = [NextTokenConfig().build()(model, batch) for batch in batches]
        gradients = torch.autograd.grad(sum(one.total for one in losses), [*model.parameters()])  # type: ignore[arg-type]
        sums.append([torch.stack([one.total for one in losses]).sum().double(),
                     torch.tensor(sum(int(one.count) for one in losses)), *gradients])  # fmt: skip
        sums[-1] += [torch.tensor(len(batches))]
    assert sums[0].pop() > sums[1].pop()
    for one, other in zip(*sums, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_numbers_are_planned_too() -> None:
    """An arm of two joints: two numbers an action, each of which comes back as what a bin stands for."""
    rng = np.random.default_rng(0)
    columns = Columns({
        "states": [rng.normal(size=(n, 3)) for n in (5, 9)], "actions": [rng.uniform(-1, 1, (n, 2)) for n in (5, 9)],
        "rewards": [rng.normal(size=n) for n in (5, 9)],
    })  # fmt: skip
    task = PlanConfig(**SMALL, bins=7, edges="quantile", discount=0.9)
    readers = Readers(None, task.readers(columns))
    model = from_data(DecoderConfig, {"width": 16, "layers": 1, "positions": "rotary"}).build(task.size(readers)).eval()
    answers = task.predict(model, readers, task.inputs(columns), None)  # type: ignore[arg-type]
    assert [np.shape(one) for one in answers] == [(5, 2), (9, 2)]
    levels: Any = readers["actions"]
    assert all(number in levels.levels[i] for row in answers for step in row for i, number in enumerate(step))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = {**WORDS, "name": "plan", "train.max_steps": 3, "train.validate_every": 3}
    return transduce.train("plan", words, out=tmp_path_factory.mktemp("runs"), quiet=True).path


WORDS = {"world": "graph", "data.world.episodes": 60, "model.width": 16, "model.layers": 1, "batch.batch_tokens": 160,
         "schedule": {"kind": "constant"}, "task.trials": 2, "task.horizon": 2, "task.beam_size": 2}  # fmt: skip


def test_a_run_plans(run: Path) -> None:
    model = transduce.load(run)
    played = model.act(episodes=3, pictures=True, horizon=3, beam_size=4)
    assert [len(one.pictures) for one in played] == [played[0].steps + 1, 0, 0]
    assert played[0].returned == played[0].episode.rewards.sum()
    evaluation = model.evaluate()
    assert set(evaluation.values) == {"mean-return", "reached"}
    assert evaluation.count == sum(
        4 * len(x) for x in Episodes(world=GraphConfig(episodes=60)).load()["valid"]["rewards"]
    )


def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path) -> None:
    words = {**WORDS, "train.validate_every": 2, "task.context": 4}
    once = transduce.train("plan", {**words, "train.max_steps": 4}, out=tmp_path / "a", quiet=True)
    for steps in (2, 4):
        parts = transduce.train("plan", {**words, "train.max_steps": steps}, out=tmp_path / "b", quiet=True)
    for one, other in zip(*(transduce.load(run.path, checkpoint="last").model.parameters() for run in (once, parts)),
                          strict=True):  # fmt: skip
        assert torch.equal(one, other)


def test_what_does_not_fit_gets_a_sentence(run: Path, tmp_path: Path) -> None:
    model, words = transduce.load(run), {"world": "graph", "data.world.episodes": 9}
    with pytest.raises(UserError, match="plans for the highest return, and cannot be asked for another; leave it out"):
        model.act(target=-3.0)
    with pytest.raises(UserError, match="horizon=30 steps are foreseen, but the model reads context=20"):
        model.act(horizon=30)
    with pytest.raises(UserError, match="horizon=2 steps are foreseen, but the model reads context=1"):
        model.act(context=1)
    with pytest.raises(UserError, match=r"choose model\.kind=decoder"):
        transduce.train("plan", {**words, "model.kind": "encoder"}, out=tmp_path)
    with pytest.raises(UserError, match=r"use model\.embedding=table"):
        transduce.train("plan", {**words, "model.embedding": {"kind": "adaptive", "cutoffs": [5]}}, out=tmp_path)
    with pytest.raises(UserError, match=r"task\.context=20 steps take 80 positions, but this model has 79; give it"):
        transduce.train("plan", {**words, "model.positions.limit": 79}, out=tmp_path)
    with pytest.raises(UserError, match="episodes as ids, for which transformers has no class"):
        api.export(run, tmp_path / "out")
    with pytest.raises(UserError, match="input 1 is no episode"):
        model.predict(["[1, 2]"])
