"""Lists of tokens: how they lie, and how many of them a query looks at."""

from typing import Any, cast

import pytest
import torch

from transduce.config import kinds
from transduce.model.cache import BLOCK, Cache, Memory, Recall, blocks, overwrite, take
from transduce.model.layout import Layout, dense, right_padded
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.ops.rows import rows_alike
from transduce.model.positions.position import Positions
from transduce.model.state import over, select, snapshot, tensors

HERE: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
LISTS = [
    pytest.param(config, id=str(config))
    for kind in kinds(MixerConfig.folder).values()
    if not cast(type[MixerConfig], kind).absent
    for config in cast(type[MixerConfig], kind).examples()
    if isinstance(config.build(16, Positions()).init_state(1, 4, **HERE), Cache)
]


@torch.no_grad()
@pytest.mark.parametrize("config", LISTS)
def test_the_tokens_of_a_head_lie_side_by_side(config: MixerConfig) -> None:
    mixer = config.build(16, Positions())
    x, grid = torch.randn(3, 13, 16), right_padded(torch.tensor([13, 5, 1]), 13)
    state = mixer(x, grid, mixer.init_state(3, 13, **HERE))[1]
    chosen = torch.tensor([2, 0])
    states = [state, select(state, chosen), snapshot(state), mixer(x[:, :1], dense(3, 1, 13), state)[1]]
    for some in [*states, mixer.write(x, grid), select(mixer.write(x, grid), chosen)]:
        assert isinstance(some, Cache | Memory)
        for field in some.fields:
            assert field.is_contiguous(), field.stride()
            assert field.shape[-2] >= 13


@torch.no_grad()
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("window", [None, 4, 40])
@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 47])
def test_one_query_looks_at_no_more_than_it_needs(window: int | None, tokens: int, same: bool) -> None:
    """Or at whole blocks, where a row may not be computed in another way for its mates."""
    recall, new = Recall(window, sinks=2), torch.arange(3.0 * tokens).view(3, tokens, 1, 1)
    state = recall.empty(3, 1000, [(1, 1)], **HERE)
    with rows_alike(same):
        for t in range(tokens):
            seen, state = recall.forward((new[:, t : t + 1],), Layout(torch.full((3, 1), t)), state)
    assert state is not None
    room = state.positions.shape[1] - 1
    assert room == blocks(1000 if window is None else window + 2)
    assert seen.fields[0].shape[1] == seen.positions.shape[1] == min(room, blocks(tokens) if same else tokens)
    assert not same or seen.positions.shape[1] % BLOCK == 0
    assert seen.mask is not None
    first = 0 if window is None else max(0, tokens - window)
    expected = {*range(first, tokens), *range(min(tokens, 2 if window else 0))}
    for row in range(3):
        found = seen.fields[0][row, seen.mask[row, 0, 0], 0, 0].tolist()
        assert sorted(found) == [float(new[row, t, 0, 0]) for t in sorted(expected)]


@torch.no_grad()
@pytest.mark.parametrize("config", LISTS)
@pytest.mark.parametrize("tokens", [1, 7, 13])
def test_rows_move_with_all_that_they_hold(config: MixerConfig, tokens: int) -> None:
    """Of 32 slots at most 13 are in use; a window of four has come round."""
    mixer = config.build(16, Positions())
    state = mixer.init_state(4, 20, **HERE)
    for t in range(tokens):
        state = mixer(torch.randn(4, 1, 16), dense(4, 1, t), state)[1]
    rows, into = torch.tensor([2, 0, 2]), torch.tensor([0, 1, 3])
    expected = over(state, lambda x: x.index_copy(0, into, x.index_select(0, rows)))
    chosen, addresses = select(state, rows), [x.data_ptr() for x in tensors(state)]
    torch.testing.assert_close(take((state, None, state.positions), rows), (chosen, None, chosen.positions))
    assert overwrite((state, None), rows, into)[0] is state
    torch.testing.assert_close(state, expected, rtol=0, atol=0)
    assert [x.data_ptr() for x in tensors(state)] == addresses
