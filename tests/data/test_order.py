"""Laws of the order: every example once, within the budget, and a function of the generator alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transduce.data import order

lengths = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=200)


def sides(pairs):
    source, target = np.array(pairs, dtype=np.int64).T
    return source, target


@given(pairs=lengths, seed=st.integers(0, 99), pool=st.integers(1, 300), budget=st.integers(40, 400))
def test_bucketed_batches_hold_every_example_once_within_the_budget(pairs, seed, pool, budget):
    source, target = sides(pairs)
    batches = order.cut(order.bucket(source, target, np.random.default_rng(seed), pool), source, target, budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(pairs)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * (source[batch].max() + target[batch].max()) <= budget


@given(pairs=lengths, seed=st.integers(0, 99), open_rows=st.integers(1, 9))
def test_packed_rows_hold_every_example_once_within_the_width(pairs, seed, open_rows):
    source, target = sides(pairs)
    rows = order.pack(np.random.default_rng(seed).permutation(len(pairs)), source, target, 40, open_rows)
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(pairs)))
    assert all(source[row].sum() <= 40 and target[row].sum() <= 40 for row in rows)


def test_packing_fills_rows():
    rng = np.random.default_rng(0)
    source, target = rng.integers(4, 40, 5000), rng.integers(4, 40, 5000)
    rows = order.pack(np.arange(5000), source, target, 256)
    assert (source.sum() + target.sum()) / (len(rows) * 512) > 0.9


def test_an_order_depends_on_the_seed_alone():
    source, target = sides([(i % 7 + 1, i % 5 + 1) for i in range(100)])
    first, again, other = (order.bucket(source, target, np.random.default_rng(s), 50) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30), ranks=st.integers(1, 8))
def test_batches_are_halved_until_ranks_divide_them(sizes, ranks):
    ends = np.cumsum(sizes)
    batches = [np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    out = order.even(batches, ranks)
    assert sorted(np.concatenate(out).tolist()) == list(range(ends[-1]))
    assert len(out) % ranks == 0 or len(out) == ends[-1]


@pytest.mark.parametrize("pool", [1, 7, 1000])
def test_nothing_is_an_order_of_nothing(pool):
    empty = np.zeros(0, dtype=np.int64)
    assert order.cut(order.bucket(empty, empty, np.random.default_rng(0), pool), empty, empty, 10) == []
