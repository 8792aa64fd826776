"""The grid, its annotator, and rewards that are learnt from comparisons."""

import itertools

import pytest
import torch

from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.reproduce.comparisons import Annotator, Ensemble, segments
from transduce.reproduce.grid import Grid, grid, policy, walked


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_greatest_return_is_that_of_the_best_of_all_walks() -> None:
    world = grid(3, 2, drawn())
    assert torch.equal(world.rewards.sort().values, torch.tensor([-1.0, -1.0, *[0.0] * 6, 1.0]))
    for start in range(9):
        best = -9.0
        for moves in itertools.product(range(5), repeat=3):
            cell, total = start, 0.0
            for move in moves:
                cell = int(world.to[cell, move])
                total += float(world.rewards[cell])
            best = max(best, total)
        assert float(world.returns(3)[start]) == best


def test_a_move_is_one_cell_and_none_leaves_the_grid() -> None:
    world = grid(4, 1, drawn())
    for cell, move in itertools.product(range(16), range(5)):
        there = int(world.to[cell, move])
        far = abs(there // 4 - cell // 4) + abs(there % 4 - cell % 4)
        assert far <= (move > 0)
    assert world.to[0].tolist() == [0, 1, 4, 0, 0]


@pytest.mark.parametrize("mixer", ["none", "lstm"])
def test_a_policy_begins_with_equal_moves_and_walks_along_the_grid(mixer: str) -> None:
    world = grid(4, 1, drawn())
    model = policy(16, {"kind": mixer}, 8, 0)
    walks = walked(model, world.to, torch.arange(16).repeat(100), 6, drawn())
    shares = walks.moves.flatten().bincount(minlength=5) / walks.moves.numel()
    assert float((shares - 0.2).abs().max()) < 0.02
    assert torch.equal(world.to[walks.cells, walks.moves], walks.arrived)
    assert torch.equal(walks.arrived[:, :-1], walks.cells[:, 1:])


def test_an_annotator_is_wrong_as_often_as_is_said_and_tosses_a_coin_for_equal_ones() -> None:
    rewards, pairs = torch.tensor([0.0, 1.0]), torch.tensor([[[0, 0], [1, 0]]]).expand(4000, 2, 2)
    for wrong in (0.0, 0.1):
        better = Annotator(rewards, wrong, drawn()).sort(pairs)[:, 0].sum(1)
        assert float(better.float().mean()) == pytest.approx(1 - wrong, abs=0.02)
    equal = Annotator(rewards, 0.1, drawn()).sort(torch.tensor([[[0, 1], [1, 0]]]).expand(4000, 2, 2))
    assert float(equal[:, 0, 0].float().mean()) == pytest.approx(0.5, abs=0.03)


def ensemble(cells: int = 9) -> Ensemble:
    return Ensemble(cells, 3, 16, 1e-2, 0.01, 64, 0, drawn())


def test_the_reward_of_a_segment_is_the_mean_over_its_steps() -> None:
    model, cells = ensemble().models[0], torch.tensor([[3, 7, 7, 1]])

    def reward(ids: torch.Tensor) -> torch.Tensor:
        batch = Batch(ids, dense(len(ids), ids.shape[1]), ids)
        return model.pooled_head(model.features(batch), batch.layout)[:, 0]

    torch.testing.assert_close(reward(cells)[0], reward(cells.T).mean(), atol=1e-6, rtol=1e-5)


def test_rewards_are_learnt_and_the_pairs_that_are_asked_are_those_of_the_least_agreement() -> None:
    world: Grid = grid(3, 2, drawn())
    walks = walked(policy(9, {"kind": "none"}, 8, 0), world.to, torch.arange(9).repeat(20), 12, drawn())
    pairs, learner = segments(walks.arrived, 400, 3, drawn(1)), ensemble()
    before = learner.rewards()
    asked = learner.disputed(pairs, 10)
    spread = learner.preferences(pairs).var(0)
    assert float(learner.preferences(asked).var(0).min()) >= float(spread.sort(descending=True).values[9])
    better = Annotator(world.rewards, 0.0, drawn()).sort(pairs)
    for some in (better[:200], better[200:]):
        learner.learn(some, 40)
    after = learner.rewards()
    likeness = [float(torch.corrcoef(torch.stack([x, world.rewards]))[0, 1]) for x in (before, after)]
    assert likeness[1] > max(0.9, likeness[0])
    assert float(after.mean()) == pytest.approx(0.0, abs=1e-5)
