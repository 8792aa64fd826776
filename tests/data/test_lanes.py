"""A stream in lanes: nothing is read twice, nothing is left out, and each batch goes on where the last one ended."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transduce.data.lanes import Lanes
from transduce.errors import UserError


def stream(tokens: int) -> np.ndarray:
    return np.arange(tokens, dtype=np.uint16)


@given(st.integers(2, 300), st.integers(1, 6), st.integers(1, 20), st.integers(0, 3))
def test_every_batch_goes_on_where_the_last_one_ended(tokens: int, rows: int, width: int, seed: int) -> None:
    lanes = Lanes(stream(tokens), rows * width, width)
    if tokens - 1 < rows * width:
        with pytest.raises(UserError, match=r"lower batch\.batch_tokens"):
            lanes.plan(np.random.default_rng(seed))
        return
    batches = [lanes.build(strip) for strip in lanes.plan(np.random.default_rng(seed))]
    read = np.concatenate([batch.inputs.numpy() for batch in batches], 1)
    assert read.shape == (rows, width * len(batches))
    assert (np.diff(read, axis=1) == 1).all()
    assert (np.diff(read[:, 0]) >= read.shape[1]).all()  # lanes do not overlap
    for i, batch in enumerate(batches):
        assert batch.offset == i * width
        assert (batch.targets == batch.inputs + 1).all()
        assert batch.layout.positions.tolist() == [list(range(i * width, (i + 1) * width))] * rows


@given(st.integers(2, 300), st.integers(1, 6), st.integers(1, 20))
def test_an_evaluation_has_every_token_but_the_first_as_a_target_once(tokens: int, rows: int, width: int) -> None:
    lanes = Lanes(stream(tokens), rows * width, width)
    batches = [lanes.build(strip) for strip in lanes.fixed()]
    targets = np.concatenate([batch.targets.numpy().ravel() for batch in batches])
    assert sorted(targets[targets >= 0].tolist()) == list(range(1, tokens))
    for batch in batches:
        assert ((batch.targets >= 0) == batch.layout.valid).all()
        assert len({b.inputs.shape[0] for b in batches}) == 1
