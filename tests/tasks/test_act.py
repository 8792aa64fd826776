"""Acting: step by step as on the whole window, as asked, in any mixer's memory."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import transduce
from transduce.config import from_data
from transduce.data.columns import Columns
from transduce.data.episodes import Episodes
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.batch import Steps
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.tasks.act import ActConfig
from transduce.tasks.acting import Actor, joined, play, whole
from transduce.tasks.playing import world_of
from transduce.worlds.graph import GraphConfig

WORLD = GraphConfig(episodes=40)
MIXERS = ("attention", "lstm", "gated-delta", "ssm")


def built(mixer: str, **more: Any) -> tuple[ActConfig, Model, Readers]:
    """A model with random weights, and its readers."""
    task = ActConfig(world=WORLD, **more)
    columns = Episodes(world=WORLD).load()["train"]
    readers = Readers(None, task.readers(columns))
    data = {"width": 16, "layers": 2, "mixer": mixer, "positions": "none", "embedding": "trajectory"}
    model = task.shaped(from_data(DecoderConfig, data), readers).build(task.size(readers)).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=p.dtype)
    return task, model, readers


@pytest.mark.parametrize("context", [7, 3, 1])
@pytest.mark.parametrize("mixer", MIXERS)
def test_step_by_step_is_the_whole_window(mixer: str, context: int) -> None:
    _, model, readers = built(mixer)
    seen = list[torch.Tensor]()
    states = np.eye(20, dtype=np.float32)[np.arange(21).reshape(3, 7) % 20]

    class Watching(ActConfig):
        def chosen(self, model: Model, readers: Readers, hidden: torch.Tensor) -> Any:
            seen.append(hidden)
            return super().chosen(model, readers, hidden)

    actor = Actor(Watching(context=context), model, readers, 3, context)
    for t in range(7):
        actor.act(states[:, t], np.array([-3.0, -20.0, -1.0]) + t)
        if t == 4:
            actor.keep([2, 0])
            states = states[[2, 0]]
        window = joined(actor.steps[-context:])
        expected = whole(model, window)[:, -1]
        ours = seen[-1] if t != 4 else seen[-1][[2, 0]]
        torch.testing.assert_close(ours, expected)
        if t >= 4:
            break
    for t in (5, 6):
        actor.act(states[:, t], np.array([-1.0, -3.0]))
        torch.testing.assert_close(seen[-1], whole(model, joined(actor.steps[-context:]))[:, -1])


def test_slots_may_be_read_in_any_chunks() -> None:
    _, model, _ = built("attention")
    generator = torch.Generator().manual_seed(0)
    steps = Steps(
        torch.randn(2, 5, 1, generator=generator), torch.randn(2, 5, 20, generator=generator),
        torch.randint(0, 20, (2, 5), generator=generator), torch.arange(3, 8).expand(2, -1),
    )  # fmt: skip
    expected, start, state, parts = whole(model, steps), 0, model.init_state(2, 15), list[torch.Tensor]()
    for size in (1, 4, 2, 5, 2):
        first, last = start // 3, (start + size - 1) // 3
        some = Steps(*(x[:, first : last + 1] for x in steps))
        hidden, state = model.step(some, dense(2, size, start), state)  # type: ignore[arg-type]
        parts.append(hidden)
        start += size
    torch.testing.assert_close(torch.cat(parts, 1), expected)


def test_episodes_follow_from_their_number_and_do_not_depend_on_the_others() -> None:
    task, model, readers = built("attention")
    many = play(task, model, readers, WORLD, episodes=6)
    for ours, other in zip(play(task, model, readers, WORLD, episodes=2), many, strict=False):
        assert ours.returned == other.returned
        assert np.array_equal(ours.episode.actions, other.episode.actions)
    assert [one.target for one in many] == [best(i) for i in range(6)]


def best(number: int) -> float:
    world = WORLD.build()
    world.begin(number, 0)
    return world.best


def test_without_returns_it_does_not_matter_what_is_asked() -> None:
    task, model, readers = built("attention", given="none")
    one, other = (play(task, model, readers, WORLD, target=r, episodes=5) for r in (-1.0, -20.0))
    assert [x.episode.actions.tolist() for x in one] == [x.episode.actions.tolist() for x in other]
    task = replace(task, given="return")
    one, other = (play(task, model, readers, WORLD, target=r, episodes=5) for r in (-1.0, -20.0))
    assert [x.episode.actions.tolist() for x in one] != [x.episode.actions.tolist() for x in other]


def test_the_best_episodes_alone_are_learnt_from() -> None:
    task, columns = ActConfig(best=0.25), Episodes(world=WORLD).load()["train"]
    readers = Readers(None, task.readers(columns))
    totals = sorted((float(cell.numbers.sum()) for cell in columns["rewards"]), reverse=True)
    examples = task.examples(columns, readers)
    assert len(examples) == 10
    returns: Any = readers["rewards"]
    firsts: list[float] = (examples.returns[examples.states.offsets[:-1], 0] * returns.scale).tolist()
    assert sorted(firsts, reverse=True) == pytest.approx(totals[:10], rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"bins": 9}])
def test_actions_that_are_numbers_come_back_in_their_unit(options: dict[str, int]) -> None:
    task = ActConfig(context=4, **options)  # type: ignore[arg-type]
    draw = np.random.default_rng(0)
    rows = [(draw.normal(size=(6, 3)), 40 + draw.normal(size=(6, 2)), draw.normal(size=6)) for _ in range(5)]
    columns = Columns({name: [row[i] for row in rows] for i, name in enumerate(task.reads)})
    readers = Readers(None, task.readers(columns))
    data = {"width": 16, "layers": 1, "positions": "none", "mixer": {"heads": 2}}
    model = task.shaped(from_data(DecoderConfig, data), readers).build(3).eval()
    answers = task.predict(model, readers, rows, None)  # type: ignore[arg-type]
    assert np.array(answers).shape == (5, 6, 2)
    assert np.abs(np.array(answers) - 40).max() < 5
    as_json = json.dumps(dict(zip(task.reads, (x.tolist() for x in rows[0]), strict=True)))
    assert task.predict(model, readers, [as_json], None)[0] == answers[0]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    words = {"world": "graph", "data.world.episodes": 60, "model.width": 16, "model.layers": 1, "train.max_steps": 3,
             "train.validate_every": 3, "schedule.warmup_steps": 1, "name": "act", "task.trials": 4}  # fmt: skip
    return transduce.train("act", words, out=out, quiet=True).path


def test_a_run_acts(run: Path) -> None:
    model = transduce.load(run)
    assert world_of(model.task, None) == GraphConfig(episodes=60)  # type: ignore[arg-type]
    played = model.act(episodes=3, pictures=True)
    assert [len(one.pictures) for one in played] == [played[0].steps + 1, 0, 0]
    assert played[0].returned == played[0].episode.rewards.sum()
    evaluation = model.evaluate()
    assert set(evaluation.values) == {"mean-return", "reached"}
    assert len(evaluation.samples) == 4


def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path) -> None:
    words = {"world": "graph", "data.world.episodes": 30, "model.width": 16, "batch.batch_tokens": 150,
             "task.context": 4, "schedule": {"kind": "constant"}, "train.validate_every": 2,
             "task.trials": 2}  # fmt: skip
    once = transduce.train("act", {**words, "train.max_steps": 4}, out=tmp_path / "a", quiet=True)
    for steps in (2, 4):
        parts = transduce.train("act", {**words, "train.max_steps": steps}, out=tmp_path / "b", quiet=True)
    for one, other in zip(*(transduce.load(run.path, checkpoint="last").model.parameters() for run in (once, parts)),
                          strict=True):  # fmt: skip
        assert torch.equal(one, other)


def test_a_plan_counts_what_it_takes() -> None:
    words = {"world": "graph", "data.world.episodes": 30, "model.width": 16, "batch.batch_tokens": 300}
    plan = transduce.plan("act", words, probe=False)
    assert plan.costs.tokens == 30  # ten steps, the longest walk
    assert plan.costs.training_flops > 2 * plan.costs.forward_flops > 0


def test_what_does_not_fit_gets_a_sentence(run: Path, tmp_path: Path) -> None:
    model = transduce.load(run)
    with pytest.raises(UserError, match=r"`world\.kind` is 'grph', .*graph"):
        model.act("grph")
    with pytest.raises(UserError, match=r"choose model\.kind=decoder"):
        transduce.train("act", {"world": "graph", "data.world.episodes": 9, "model.kind": "encoder"}, out=tmp_path)
    with pytest.raises(UserError, match="input 1 is no episode"):
        model.predict(["[1, 2]"])
