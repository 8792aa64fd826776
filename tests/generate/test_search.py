import numpy as np
import pytest
import torch

from transduce.generate.choose import beam, chooser, greedy
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import run
from transduce.generate.hypothesis import Hypothesis
from transduce.generate.inputs import prepare
from transduce.generate.search import Search, seat

PENALTIES = [-3.0, -0.5, 0.0, 0.6, 1.0, 5.0]


def search(model, letters, config: GenerateConfig, sources, limits: list[int], early: bool = True, choose=beam):
    found = run(
        model,
        prepare(model, letters, sources, None),
        Search(config, np.array(limits), letters.eos, early=early),
        choose,
    )
    return [kept[: config.nbest] for kept in found]


@pytest.mark.parametrize("a", PENALTIES)
def test_stopping_early_changes_nothing(markov, letters, a: float):
    sources, limits, saved = [[3], [4, 4], [5, 3, 4], [4]], [12, 12, 5, 1], 0
    for seed in range(60):
        width = 2 + seed % 4
        config = GenerateConfig(beam_size=width, nbest=1 + seed % width, length_penalty=a)
        model = markov(seed=seed, reads=True, sharp=0.5 + seed % 3)
        whole = search(model, letters, config, sources, limits, early=False)
        steps = len(model.steps)
        assert search(model, letters, config, sources, limits) == whole
        saved += 2 * steps > len(model.steps)
    assert saved > 0 or a == 5.0, "the test should see some searches stop early"


@pytest.mark.parametrize("a", PENALTIES)
def test_a_beam_of_one_is_greedy(markov, letters, a: float):
    config, sources = GenerateConfig(length_penalty=a), [[3], [4, 4], [5, 3, 4]]
    for seed in range(20):
        model = markov(seed=seed, reads=True)
        found = [search(model, letters, config, sources, [9, 9, 4], choose=choose) for choose in (beam, greedy)]
        assert found[0] == found[1]
    assert chooser(config, [], 9) is greedy


@pytest.mark.parametrize("a", [0.0, 0.6])
def test_a_beam_rarely_finds_less_than_greedy(markov, letters, a: float):
    """At least as good a score for 99 of 100 inputs: a beam may lose what is best in the end, and seldom does."""
    config, sources = GenerateConfig(beam_size=4, length_penalty=a), [[3], [4], [5], [3, 3], [3, 4], [4, 4]]
    better, worse = 0, 0
    for seed in range(100):
        model = markov(seed=seed, reads=True)
        found = [search(model, letters, config, sources, [9] * 6, choose=choose) for choose in (beam, greedy)]
        for (wide,), (narrow,) in zip(*found, strict=True):
            better += wide.normalised(a) > narrow.normalised(a) + 1e-5
            worse += wide.normalised(a) < narrow.normalised(a) - 1e-5
    assert worse <= 6
    assert better > 60


@pytest.mark.parametrize("shape", [(1, 5), (7, 5), (3, 1), (2, 8)])
def test_the_best_child_stays_and_as_few_rows_move_as_can_be(shape: tuple[int, int]):
    random = np.random.default_rng(0)
    for _ in range(50):
        parents, live = random.integers(0, shape[1], shape), random.random(shape) < 0.7
        seats = seat(parents, live)
        assert (np.sort(seats, 1) == np.arange(shape[1])).all(), "every candidate has one place"
        for row in range(shape[0]):
            at = {int(candidate): place for place, candidate in enumerate(seats[row])}
            families = {int(p): np.flatnonzero(live[row] & (parents[row] == p)) for p in parents[row][live[row]]}
            assert all(at[children[0]] == parent for parent, children in families.items())
            moved = sum(live[row, k] and at[k] != parents[row, k] for k in range(shape[1]))
            assert moved == live[row].sum() - len(families)


def test_rows_that_stay_are_not_moved_and_those_that_end_are_dropped(letters):
    """One input, three places, of which the second ends; then two, of which one ends."""
    rows = Search(GenerateConfig(beam_size=3, nbest=3), np.array([9]), letters.eos)
    move = rows.advance(np.zeros((1, 3), np.int64), np.array([[4, 5, 6]]), np.array([[-1.0, -2.0, -3.0]]))
    assert move.rows.tolist() == [0, 0, 0]
    assert move.into is None
    same = rows.advance(np.array([[0, 1, 2]]), np.array([[4, 4, 4]]), np.array([[-1.5, -2.5, -3.5]]))
    assert same.rows is None
    move = rows.advance(np.array([[0, 0, 2]]), np.array([[3, 4, 5]]), np.array([[-2.0, -3.0, -4.0]]))
    assert (move.rows.tolist(), move.into.tolist(), move.ids.tolist()) == ([0], [1], [3, 4, 5])
    move = rows.advance(np.array([[1, 0, 2]]), np.array([[4, letters.eos, 5]]), np.array([[-3.5, -3.6, -4.5]]))
    assert (move.rows.tolist(), move.ids.tolist(), move.sources.tolist()) == ([1, 2], [4, 5], [0])
    assert rows.kept == [[Hypothesis([4, 4, 3], -3.6, finished=True)]]
    assert rows.ids[0, :, :4].tolist() == [[4, 4, 4, 4], [6, 4, 5, 5]]
    assert rows.advance(np.array([[0, 1]]), np.array([[2, 2]]), np.array([[-4.0, -5.0]])) is None
    assert [h.ids for h in rows.kept[0]] == [[4, 4, 3], [4, 4, 4, 4], [6, 4, 5, 5]]


def test_finished_inputs_leave_the_batch(markov, letters):
    model = markov(reads=True)
    model.table[..., letters.eos] = -100.0
    search(model, letters, GenerateConfig(), [[3]] * 8, [1, 2, 3, 4, 5, 6, 20, 20], choose=greedy)
    rows = [r for r, _ in model.steps]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] == 8
    assert rows[-1] <= 2


def test_scores_that_are_not_numbers_end_the_search(markov, letters):
    model = markov()
    model.table.fill_(torch.nan)
    with pytest.raises(ValueError, match="probably not finite"):
        run(model, prepare(model, letters, None, [[4]]), Search(GenerateConfig(), np.array([9]), 2), greedy)
