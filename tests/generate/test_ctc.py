"""What steps spell: the likeliest way, and the likeliest texts against the sum over all ways."""

from itertools import product

import numpy as np
import pytest

from transduce.generate.ctc import greedy, prefix_beam

BLANK = 2


def logs(steps: int, seed: int = 0, labels: int = 3) -> np.ndarray:
    x = np.random.default_rng((steps, seed)).normal(0, 2, (steps, labels))
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def spelt(way: tuple[int, ...], blank: int = BLANK) -> tuple[int, ...]:
    return tuple(x for i, x in enumerate(way) if x != blank and (i == 0 or way[i - 1] != x))


def by_hand(log_p: np.ndarray) -> dict[tuple[int, ...], float]:
    out: dict[tuple[int, ...], float] = {}
    for way in product(range(log_p.shape[1]), repeat=len(log_p)):
        p = float(np.exp(sum(log_p[t, c] for t, c in enumerate(way))))
        out[spelt(way)] = out.get(spelt(way), 0.0) + p
    return out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", range(1, 7))
def test_a_beam_of_all_beginnings_finds_all_texts_with_their_probabilities(steps: int, seed: int) -> None:
    log_p = logs(steps, seed)
    texts = by_hand(log_p)
    found = prefix_beam(log_p, BLANK, 10_000, far=np.inf)
    assert {one.labels for one in found} == set(texts)
    for one in found:
        assert np.exp(one.log_p) == pytest.approx(texts[one.labels], abs=1e-12)
    assert [one.log_p for one in found] == sorted((one.log_p for one in found), reverse=True)
    assert found[0].labels == max(texts, key=lambda text: texts[text])


def test_a_beam_finds_what_no_single_way_shows() -> None:
    """Blank is likeliest at each step, but the text `0` has three ways that are likelier together."""
    log_p = np.log(np.array([[0.4, 1e-9, 0.6], [0.4, 1e-9, 0.6]]))
    assert greedy(log_p, BLANK).labels == ()
    assert np.exp(greedy(log_p, BLANK).log_p) == pytest.approx(0.36)
    best = prefix_beam(log_p, BLANK, 2)[0]
    assert best.labels == (0,)
    assert np.exp(best.log_p) == pytest.approx(0.64, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 5, 40])
def test_greedy_is_the_likeliest_way(steps: int) -> None:
    log_p = logs(steps, 1, 7)
    way = tuple(log_p.argmax(1).tolist())
    assert greedy(log_p, 6).labels == spelt(way, 6)
    assert greedy(log_p, 6).log_p == pytest.approx(sum(log_p[t, c] for t, c in enumerate(way)))
    assert prefix_beam(log_p, 6, 8)[0].log_p >= greedy(log_p, 6).log_p - 1e-9


def test_few_beginnings_and_far_labels_cost_no_probability_that_counts() -> None:
    log_p = logs(30, 2, 12)
    few, all_tried = prefix_beam(log_p, 11, 16), prefix_beam(log_p, 11, 16, far=np.inf)
    assert [one.labels for one in few] == [one.labels for one in all_tried]
    assert len(few) == 16
    assert few[0].log_p == pytest.approx(all_tried[0].log_p, abs=1e-5)
