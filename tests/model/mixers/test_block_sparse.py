"""Block-sparse attention against dense attention that counts what it sees, and what it draws."""

from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.init.init import NormalInit, Sizes
from transduce.model.layout import dense, right_padded
from transduce.model.mixers.block_sparse import BlockSparse, BlockSparseConfig, lottery
from transduce.model.positions.position import Positions

WIDTH = 8


def build(**options: Any) -> BlockSparse:
    mixer = BlockSparseConfig(heads=2, **options).build(WIDTH, Positions())
    assert isinstance(mixer, BlockSparse)
    NormalInit(std=0.5).apply(mixer, Sizes(WIDTH, 1, 0), seed=0)
    return mixer.double()


def times_seen(mixer: BlockSparse, tokens: int) -> Tensor:
    """(H, T, T): how often a token sees another, of the rule in words."""
    config, last = mixer.config, (tokens - 1) // mixer.config.block
    block = torch.arange(tokens) // config.block
    i, j = block[:, None], block[None, :]
    ends = (i == 0) | (i == last)
    counts = (ends | (j == 0) | (j == last) | ((i - j).abs() <= 1)).double().expand(2, -1, -1).clone()
    for h in range(2):
        for row in range(1, last):
            far = [b for b in range(1, last) if abs(b - row) > 1]
            lots = lottery(2, last + 1, config.seed, torch.device("cpu"))[h, row]
            drawn = sorted(far, key=lambda b: -int(lots[b]))[: config.random] if config.drawn else [0] * config.random
            for b in drawn:
                counts[h] += (i == row) & (j == b)
    return counts


OPTIONS: list[dict[str, Any]] = [
    {"block": 1, "random": 2},
    {"block": 3, "random": 1},
    {"block": 2, "random": 2, "drawn": False},
    {"block": 4, "random": 0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("more", [1, 2, 13])
def test_it_is_dense_attention_that_counts(options: dict[str, Any], more: int) -> None:
    torch.manual_seed(0)
    mixer = build(**options)
    tokens = mixer.config.short + more
    x = torch.randn(1, tokens, WIDTH).double()
    q, k, v = (f(x)[0].view(tokens, 2, 4).transpose(0, 1) for f in (mixer.q, mixer.k, mixer.v))
    weights = ((q @ k.mT) / 2.0 + times_seen(mixer, tokens).log()).softmax(-1)
    y = mixer.out((weights @ v).transpose(0, 1).flatten(1))
    torch.testing.assert_close(mixer.encode(x, dense(1, tokens))[0], y)
    short = x[:, : mixer.config.short]
    rows = right_padded(torch.tensor([tokens, short.shape[1]]), tokens)
    both = mixer.encode(x.expand(2, -1, -1), rows)
    torch.testing.assert_close(both[0], y)
    q, k, v = (part[:, : mixer.config.short] for part in (q, k, v))
    y = mixer.out((((q @ k.mT) / 2.0).softmax(-1) @ v).transpose(0, 1).flatten(1))
    torch.testing.assert_close(both[1, : mixer.config.short], y)


def test_what_is_drawn_is_far_different_and_not_always_the_same() -> None:
    mixer, blocks = build(block=1, random=3), 40
    seen, counts = mixer.seen(torch.tensor([blocks - 1, 29]), blocks, 2)
    assert counts[..., 5:].all()
    for row, last in enumerate((blocks - 1, 29)):
        i, drawn = torch.arange(1, last)[:, None], seen[row, :, 1:last, 5:]
        assert ((drawn > 0) & (drawn < last) & ((drawn - i).abs() > 1)).all()
        assert (drawn.sort(-1).values.diff() > 0).all()
    assert not torch.equal(seen[0, 0, :, 5:], seen[0, 1, :, 5:])  # heads differ
    other = build(block=1, random=3, seed=1).seen(torch.tensor([blocks - 1]), blocks, 2)[0]
    assert not torch.equal(other[0, ..., 5:], seen[0, ..., 5:])
    often = seen[0, :, 1:-1, 5:].flatten().bincount(minlength=blocks)[1:-1]
    assert often.max() < 20  # of 228, over 38 blocks


def test_each_token_costs_the_same_however_long_the_text() -> None:
    """Inner queries meet (5 + R) block keys, and the 2 block outer ones all: linear in T."""
    from torch.utils.flop_counter import FlopCounterMode

    mixer, costs = build(block=4, random=1).float(), list[float]()
    for tokens in (64, 128, 256):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            mixer.encode(torch.randn(1, tokens, WIDTH), dense(1, tokens))
        costs.append(counter.get_total_flops() / tokens)
    assert max(costs) < 1.01 * min(costs), costs


def test_it_stands_in_encoders_only() -> None:
    with pytest.raises(UserError, match="block-sparse cannot stand in a decoder: block-sparse attention"):
        DecoderConfig(width=WIDTH, mixer=BlockSparseConfig(heads=2)).build(11)
    with pytest.raises(UserError, match="heads=3 does not divide width=8"):
        BlockSparseConfig(heads=3).build(WIDTH, Positions())
