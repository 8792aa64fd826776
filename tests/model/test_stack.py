"""A stack applies its blocks in order, a repeated one several times with one set of weights."""

import copy
from typing import Any, cast

import torch

from transduce.model.architecture import DecoderConfig
from transduce.model.layout import dense
from transduce.model.stack import Repeat, Stack
from transduce.model.state import nbytes

X = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))


def stack() -> Stack:
    return cast(Any, DecoderConfig(width=16, layers=2).build(9).eval()).stack


def test_a_repeat_is_the_same_block_again_with_a_state_of_its_own() -> None:
    first, second = cast(Any, stack().blocks)
    ends = stack()
    repeated = Stack([Repeat(first, 3), second], ends.enter, ends.leave).eval()
    written = Stack([first, copy.deepcopy(first), copy.deepcopy(first), second], ends.enter, ends.leave).eval()
    assert len(repeated.blocks) == 2
    assert len(list(repeated)) == 4
    with torch.no_grad():
        torch.testing.assert_close(repeated(X, dense(2, 5))[0], written(X, dense(2, 5))[0])
        state = repeated.init_state(2, 5, device=X.device, dtype=X.dtype)
        assert len(state) == 4
        parts = []
        for t in range(5):
            y, state = repeated(X[:, t : t + 1], dense(2, 1, t), state)
            parts.append(y)
        torch.testing.assert_close(torch.cat(parts, 1), written(X, dense(2, 5))[0], atol=1e-5, rtol=1e-5)


def test_memory_has_an_entry_for_every_application_however_deep_the_encoder_was() -> None:
    made = stack()
    for kept in (None, (None,), (None,) * 5):
        memory = made.remember(X, dense(2, 5), kept)
        assert len(memory) == 2
        assert nbytes(memory) == 0  # these blocks read no source
