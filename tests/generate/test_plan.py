"""Planning: a beam that is wide enough finds what trying everything finds; a plan depends on its own row alone."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from transduce.config import from_data
from transduce.data.flattened import Code
from transduce.errors import UserError
from transduce.generate import plan as planning
from transduce.generate.plan import Beam, Plan, highest, plan
from transduce.model.architecture import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import Layout, dense
from transduce.model.models import Model
from transduce.worlds.graph import LIMIT, GraphConfig, distances

CODE = Code((3, 2, 2, 3, 3, 4), 2, 2)
LEVELS = (np.array([-2.0, 0.5, 1.0]), np.array([-3.0, -1.0, 0.0, 4.0]))
COSTS = (np.array([-2.0, -1.5, -1.0]), np.array([-9.0, -7.0, -6.0, -5.0]))  # so that it is best to end
WIDE = Beam(horizon=2, size=10_000, branches=6, min_p=0, discount=0.9)
MIXERS = {"attention": "rotary", "lstm": "none", "gated-delta": "none", "ssm": "none"}


def built(mixer: str, seed: int = 0) -> Model:
    """A model with random weights that is sure of many things, in float64."""
    data = {"width": 32, "layers": 2, "mixer": mixer, "positions": MIXERS[mixer], "tie_embeddings": False}
    model = from_data(DecoderConfig, data).build(CODE.size).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return model


def histories(count: int, steps: int) -> np.ndarray[Any, Any]:
    """Random steps, and a state."""
    ids = np.random.default_rng(3).integers(CODE.sizes, size=(count, steps + 1, CODE.slots)) + CODE.starts
    ids[..., -1] = CODE.blank
    return ids.reshape(count, -1)[:, : CODE.slots * steps + CODE.states]


def shares(model: Model, ids: list[int], among: list[int]) -> np.ndarray[Any, Any]:
    """p of some ids behind others, which are all read anew."""
    x = torch.tensor([ids])
    logits = model.token_head(model.features(Batch(x, dense(1, len(ids)), x))[0, -1])[among].detach().numpy()
    exps = np.exp(logits - logits.max())
    return exps / exps.sum()


def of_slot(number: int) -> list[int]:
    return [CODE.starts[number] + i for i in range(CODE.sizes[number])]


def everything(
    model: Model, ids: list[int], beam: Beam, levels: Any, depth: int = 0, earned: float = 0
) -> Iterator[Plan]:  # fmt: skip
    """Every trajectory: of all actions, with the likeliest reward and next state."""
    for first in of_slot(2):
        for second in of_slot(3):
            now = [*ids, first, second]
            p = shares(model, now, of_slot(4))
            total = earned + beam.discount**depth * float(p @ levels[0])
            now.append(of_slot(4)[int(p.argmax())])
            value = float(shares(model, now, of_slot(5)) @ levels[1])
            if depth + 1 == beam.horizon:
                yield Plan(now, total + beam.discount ** (depth + 1) * value)
                continue
            now.append(CODE.blank)
            among = [*of_slot(0), CODE.end]
            here = among[int(shares(model, now, among).argmax())]
            if here == CODE.end:
                yield Plan(now, total)
                continue
            now.append(here)
            now.append(of_slot(1)[int(shares(model, now, of_slot(1)).argmax())])
            yield from everything(model, now, beam, levels, depth + 1, total)


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_wide_beam_finds_what_trying_everything_finds(mixer: str) -> None:
    model, given = built(mixer), histories(3, 2)
    check_all(model, given, WIDE)
    wide = plan(model, CODE, given, LEVELS, WIDE)
    narrow = plan(model, CODE, given, LEVELS, replace(WIDE, size=2, branches=2))
    assert all(one.score <= other.score + 1e-9 for one, other in zip(narrow, wide, strict=True))


def test_trajectories_end_where_the_model_says_so() -> None:
    lengths = check_all(built("attention"), histories(6, 1)[3:], WIDE, COSTS)
    assert lengths == {4, 9}, "some end after a step, some go on"


def check_all(model: Model, given: np.ndarray[Any, Any], beam: Beam, levels: Any = LEVELS) -> set[int]:
    """Compares plans with everything; returns how long they are."""
    plans = plan(model, CODE, given, levels, beam)
    for row, ours in zip(given.tolist(), plans, strict=True):
        best = max(everything(model, row, beam, levels), key=lambda one: one.score)
        assert ours.ids == best.ids[len(row) :]
        assert ours.score == pytest.approx(best.score, abs=1e-9)
    return {len(one.ids) for one in plans}


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_plan_is_the_same_alone_and_among_others(mixer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given, beam = built(mixer).float(), histories(7, 2), Beam(horizon=3, size=3, branches=3, min_p=0.05)
    together = plan(model, CODE, given, LEVELS, beam)
    assert len({tuple(one.ids) for one in together}) > 1
    assert [plan(model, CODE, row[None], LEVELS, beam)[0] for row in given] == together
    assert plan(model, CODE, given[::-1].copy(), LEVELS, beam)[::-1] == together
    monkeypatch.setattr(planning, "AT_ONCE", 18)  # two rows at once
    assert plan(model, CODE, given, LEVELS, beam) == together


def test_the_likeliest_action_alone_where_nothing_else_is_likely_enough() -> None:
    model, given = built("attention"), histories(3, 1)
    greedy = plan(model, CODE, given, LEVELS, replace(WIDE, size=1, branches=1, horizon=1))
    likely = plan(model, CODE, given, LEVELS, replace(WIDE, min_p=1.0, horizon=1))
    for row, one, other in zip(given.tolist(), greedy, likely, strict=True):
        first = of_slot(2)[int(shares(model, row, of_slot(2)).argmax())]
        assert one.ids[0] == first
        joint = {(a, b): p * q for a, p in zip(of_slot(2), shares(model, row, of_slot(2)), strict=True)
                 for b, q in zip(of_slot(3), shares(model, [*row, a], of_slot(3)), strict=True)}  # fmt: skip
        assert tuple(other.ids[:2]) == max(joint, key=joint.__getitem__)


def test_the_highest_of_each_group() -> None:
    rng = np.random.default_rng(0)
    groups, values = np.sort(rng.integers(5, size=40)), rng.integers(6, size=40).astype(float)
    rows = [sorted(np.flatnonzero(groups == group).tolist(), key=lambda i: (-values[i], i)) for group in range(5)]
    expected = [i for row in rows for i in row[:3]]
    assert highest(groups, values, 3).tolist() == expected


class Oracle:
    """It knows a graph as a random walker would: the state of a row is what was read."""

    def __init__(self, world: GraphConfig, code: Code, values: np.ndarray[Any, Any]) -> None:
        self.edges, self.code, self.values, self.device = world.edges, code, values, torch.device("cpu")

    def token_head(self, hidden: Tensor) -> Tensor:
        return hidden

    def init_state(self, rows: int, most: int) -> Tensor:
        return torch.full((rows, most), -1)

    def step(self, ids: Tensor, layout: Layout, state: Tensor, memory: None = None) -> tuple[Tensor, Tensor]:
        logits = torch.full((*ids.shape, self.code.size), -30.0)
        for row, column in np.argwhere(layout.positions.numpy() >= 0).tolist():
            position = int(layout.positions[row, column])
            state[row, position] = ids[row, column]
            logits[row, column, self.follow(state[row, : position + 1].numpy().tolist())] = 0.0
        return logits, state

    def follow(self, ids: list[int]) -> list[int]:
        slot, time = (len(ids) - 1) % 4, (len(ids) - 1) // 4
        nodes = len(self.edges)
        if slot == 0:
            return [nodes + int(i) for i in np.flatnonzero(self.edges[ids[-1]])]
        node = ids[4 * time + 1] - nodes
        over = node == 0 or time + 1 == LIMIT
        if slot == 1:
            return [2 * nodes + int(node == 0 or not over)]
        if slot == 2:
            return [2 * nodes + 2 + int(np.abs(self.values - (0 if over else -12)).argmin())]
        return [self.code.end] if over else [node]


def nothing(model: Oracle) -> Oracle:
    """The same model, which has no weights to pack."""
    return model


@pytest.mark.parametrize("seed", [0, 3])
def test_who_knows_the_graph_goes_the_shortest_way_from_every_node(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world, values = GraphConfig(seed=seed), np.arange(-19.0, 1.0)
    monkeypatch.setattr(planning, "reader", nothing)
    oracle: Any = Oracle(world, Code((20, 20, 2, 20), 1, 1), values)
    levels = (np.array([-11.0, -1.0]), values)
    starts = np.arange(1, 20)[:, None]
    distance: list[int] = distances(world.edges).tolist()
    beam = Beam(horizon=max(distance), size=300, branches=20)
    plans = plan(oracle, oracle.code, starts, levels, beam)
    for node, one in enumerate(plans, 1):
        assert one.score == pytest.approx(-distance[node], abs=1e-6)
        assert one.ids[1::4] == [41] * distance[node]


def test_weights_that_are_no_numbers_get_a_sentence() -> None:
    model = built("attention")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="use an earlier checkpoint"):
        plan(model, CODE, histories(1, 1), LEVELS, WIDE)


@pytest.mark.parametrize(("keys", "sentence"), [
    ({"horizon": 0}, "horizon=0 must be at least 1"), ({"size": 0}, "beam_size=0 must be at least 1"),
    ({"min_p": 2.0}, "min_p=2.0 must be between 0 and 1"), ({"discount": -1.0}, "discount=-1.0 must be between"),
])  # fmt: skip
def test_numbers_that_are_none_are_refused(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Beam(**keys)
