"""Every world: its episodes follow from their number and the seed, and fit what it says of itself."""

import importlib.util
from collections import deque
from typing import cast

import numpy as np
import pytest

from transduce.config import kinds
from transduce.worlds.graph import GOAL, Graph, GraphConfig
from transduce.worlds.world import WorldConfig

INSTALLED = [
    pytest.param(kind, marks=pytest.mark.skipif(
        kind == "cartpole" and importlib.util.find_spec("gymnasium") is None, reason="gymnasium is not installed"
    ))
    for kind in kinds(WorldConfig.folder)
]  # fmt: skip


def config_of(kind: str, **more: int) -> WorldConfig:
    return cast(WorldConfig, kinds(WorldConfig.folder)[kind](**more))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", INSTALLED)
def test_episodes_follow_from_number_and_seed(kind: str) -> None:
    some, alone = config_of(kind).record(0, 4), config_of(kind).record(2, 1)[0]
    for ours, other in zip(some[2], alone, strict=True):
        assert np.array_equal(ours, other)
    other = config_of(kind, seed=1).record(0, 4)
    assert any(one.states.tobytes() != two.states.tobytes() for one, two in zip(some, other, strict=True))
    assert len({one.states.tobytes() for one in some}) == 4


@pytest.mark.parametrize("kind", INSTALLED)
def test_a_world_is_as_it_says(kind: str) -> None:
    config = config_of(kind)
    world = config.build()
    for number, episode in enumerate(config.record(0, 3)):
        state, total = world.begin(number, config.seed), 0.0
        assert world.best > world.worst
        for step, action in enumerate(episode.actions.tolist()):
            assert np.array_equal(state, episode.states[step])
            assert state.shape == (config.width,)
            state, reward, ended = world.step(action)
            total += reward
            assert ended == (step == len(episode.actions) - 1)
        assert total == pytest.approx(episode.rewards.sum(), rel=1e-5)
        assert total <= world.best + 1e-6
        assert (world.reached is None) == (not config.goal)
        if config.classes is None:
            assert episode.actions.dtype == np.float32
        else:
            assert set(episode.actions.tolist()) <= set(range(config.classes))
    pixels = world.picture()
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert pixels.min() < pixels.max()


def test_distances_are_those_of_breadth_first_search() -> None:
    for seed in range(5):
        world = GraphConfig(seed=seed).build()
        assert isinstance(world, Graph)
        steps, queue = {GOAL: 0}, deque([GOAL])
        while queue:
            node = queue.popleft()
            for before in np.flatnonzero(world.edges[:, node]).tolist():
                if before not in steps:
                    steps[before] = steps[node] + 1
                    queue.append(before)
        assert [steps[node] for node in range(len(world.edges))] == world.distance.tolist()


def test_returns_tell_success_from_failure() -> None:
    world = GraphConfig().build()
    assert isinstance(world, Graph)
    for number in range(19):
        world.begin(number, 0)
        for left in range(int(-world.best), 0, -1):
            node = next(n for n in np.flatnonzero(world.edges[world.node]).tolist() if world.distance[n] == left - 1)
            _, reward, ended = world.step(node)
            assert (reward, ended) == (-1.0, left == 1)
        assert world.reached
        world.begin(number, 0)
        total = sum(world.step(world.node)[1] for _ in range(10))  # no arrow leads from a node to itself
        assert not world.reached
        assert total == world.worst
