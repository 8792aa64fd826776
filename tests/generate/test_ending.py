"""How a beam search ends: what has ended, what is equal, and who takes the free places."""

import numpy as np
import pytest
import torch

from transduce.generate.choose import best_of_all
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.ending import Refilling, Shrinking
from transduce.generate.hypothesis import Hypothesis
from transduce.generate.search import Search

END = 2


def searching(limit: int = 9, **values: object) -> Search:
    asked = {"beam_size": 2, "nbest": 2, "length_norm": "power", "length_penalty": 0.0, **values}
    return Search(GenerateConfig(**asked), np.array([limit]), END)


def step(search: Search, *candidates: tuple[int, int, float]):
    """One step of one input. candidates: (place, id, sum of log p), the best first."""
    parents, ids, scores = (np.array([column]) for column in zip(*candidates, strict=True))
    return search.advance(parents, ids, scores.astype(float))


@pytest.mark.parametrize("early", ["heuristic", "full", "never"])
def test_what_has_ended_leaves_its_place_to_the_next_best(early: str):
    search = searching(early_stopping=early)
    assert search.choices == 4
    move = step(search, (0, END, -1.0), (0, 4, -1.5), (0, 5, -2.0), (0, 6, -3.0))
    assert move.ids.tolist() == [4, 5]
    assert search.kept == [[Hypothesis([], -1.0, finished=True)]]
    move = step(search, (0, 7, -1.6), (1, END, -2.5), (0, 8, -2.6), (0, 9, -2.7))
    if early == "full":
        assert move is None
    else:
        assert move.ids.tolist() == [7, 8]
    assert [h.ids for h in search.kept[0]] == [[], [5]]


def test_what_ends_behind_the_best_is_not_taken():
    search = searching(early_stopping="heuristic")
    move = step(search, (0, 4, -1.0), (0, 5, -1.1), (0, END, -1.2), (0, 6, -1.3))
    assert search.kept == [[]]
    assert move.ids.tolist() == [4, 5]


def test_what_has_ended_keeps_its_place_where_nothing_else_is_asked_for():
    search = searching(length_norm="gnmt")
    assert search.choices == 2
    move = step(search, (0, END, -1.0), (0, 4, -1.5))
    assert move.ids.tolist() == [4]
    assert search.room.tolist() == [1]
    _, ids, scores = best_of_all(torch.tensor([[-9.0, -1.0, -2.0, -3.0]]), search)
    assert ids[0, 0] == 1
    assert np.isfinite(scores).sum() == 1


@pytest.mark.parametrize("early", [None, "heuristic", "full", "never"])
def test_of_equals_the_first_to_end_is_the_better(early: str | None):
    search = searching(beam_size=3, nbest=3, early_stopping=early)
    step(search, (0, END, -3.0), (0, 4, -1.0), (0, 5, -1.0))
    step(search, (0, 2, -3.0), (1, 6, -1.5), (0, 7, -1.6))
    step(search, (0, 2, -3.0), (0, 8, -4.0), (0, 9, -4.0))
    found = [h.ids for h in search.kept[0]]
    assert found[0] == []
    assert len(found) >= 2
    assert len(found[1]) == 1


@pytest.mark.parametrize(
    ("early", "best", "over"),
    [(early, best, over) for early in ("heuristic", "never") for best, over in ((-1.9, False), (-2.0, True))]
    + [(None, -1.9, False), (None, -2.0, False), (None, -2.1, True)],  # where bounds are rounded up
)
def test_what_can_only_come_to_rank_equal_ends_the_search(early: str | None, best: float, over: bool):
    search = searching(beam_size=3, nbest=2, early_stopping=early)
    candidates = [(0, END, -1.0), (0, 4, best), (0, 5, -8.0)]
    ended = [Hypothesis([6], -2.0, True)] * (1 if early is None else 2)  # one more ends now
    search.kept[0].extend(ended)
    assert (step(search, *candidates) is None) == over


@pytest.mark.parametrize(
    ("early", "a", "expected"),
    [("heuristic", 1.0, -1.0), ("never", 1.0, -0.5), ("never", -1.0, -4.0), ("full", 1.0, -1.0)],
)
def test_the_rank_that_may_be_reached_is_that_of_transformers(early: str, a: float, expected: float):
    config = GenerateConfig(beam_size=2, early_stopping=early, length_norm="power", length_penalty=a)
    assert Refilling(config).bound(np.array([-2.0]), np.array([4]), 2).tolist() == [expected]


@pytest.mark.parametrize(("a", "length"), [(1.0, 4), (0.0, 4), (-1.0, 3)])
def test_the_rank_that_may_be_reached_is_a_bound(a: float, length: int):
    config = GenerateConfig(beam_size=2, length_penalty=a)
    (bound,) = Shrinking(config, True).bound(np.array([-2.0]), np.array([4]), 2)
    assert bound == pytest.approx(Hypothesis([5] * length, -2.0, False).normalised(a))
    assert all(bound >= Hypothesis([5] * n, -2.0, False).normalised(a) for n in (3, 4))


def test_as_many_are_looked_at_as_are_left_should_every_end_be_among_them():
    config = GenerateConfig(beam_size=4, early_stopping="heuristic")
    assert [Refilling(config).choices(4, ends) for ends in (0, 1, 2, 5)] == [8, 8, 12, 24]
    assert Search(config, np.array([9]), END, ends=(7, 8)).choices == 16
    assert Search(config, np.array([9]), -1).choices == 8


@pytest.mark.parametrize("early", [None, "heuristic", "full", "never"])
@pytest.mark.parametrize("size", [3, 5, 20, 63])
def test_a_beam_may_be_wider_than_a_vocabulary(markov, letters, size: int, early: str | None):
    config = GenerateConfig(beam_size=40, nbest=5, max_new_tokens=5, early_stopping=early)
    for found in decode(markov(vocab_size=size, seed=1), letters, config, prompt=[[1]] * (60 if size > 20 else 5)):
        assert len({tuple(h.ids) for h in found}) == len(found) > 0


def test_a_search_is_over_only_when_as_many_as_its_beams_have_ended():
    config = GenerateConfig(beam_size=3, early_stopping="heuristic", length_norm="power", length_penalty=0.0)
    ended = [Hypothesis([5], -score, True) for score in (1.0, 2.0, 3.0)]
    assert Refilling(config).bar([[], ended[:1], ended[:2], ended]).tolist() == [-np.inf, -np.inf, -np.inf, -3.0]
    full = GenerateConfig(beam_size=3, early_stopping="full")
    assert Refilling(full).bar([ended[:2], ended]).tolist() == [-np.inf, np.inf]
    assert Shrinking(GenerateConfig(beam_size=3, nbest=2, length_penalty=0.0), True).bar([ended]).tolist() == [-2.0]
