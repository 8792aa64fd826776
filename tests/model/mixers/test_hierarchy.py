"""The hierarchy: who reaches whom with how many levels, and that one level is attention in blocks."""

import pytest
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.init.init import NormalInit, Sizes
from transduce.model.layout import dense, packed
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.hierarchy import Hierarchy, HierarchyConfig
from transduce.model.mixers.lstm import LSTMConfig
from transduce.model.mixers.mixer import NoMixerConfig
from transduce.model.positions.position import Positions

WIDTH = 8


def build(block: int, levels: int) -> Hierarchy:
    mixer = HierarchyConfig(block=block, levels=levels, mixer=AttentionConfig(heads=2)).build(WIDTH, Positions())
    assert isinstance(mixer, Hierarchy)
    NormalInit(std=0.5).apply(mixer, Sizes(WIDTH, 1, 0), seed=0)
    return mixer.double()


def reached(mixer: Hierarchy, tokens: int) -> Tensor:
    """(T, T) bool: whether output t depends on token s."""
    x = torch.randn(1, tokens, WIDTH, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: mixer.encode(x, dense(1, tokens)).sum(-1)[0], x)
    return jacobian[:, 0].abs().sum(-1) > 0


@pytest.mark.parametrize(("block", "levels"), [(2, 1), (2, 2), (2, 4), (3, 3), (5, 2)])
def test_the_path_between_all_tokens_is_as_long_as_there_are_levels(block: int, levels: int) -> None:
    torch.manual_seed(0)
    tokens = block**levels
    assert reached(build(block, levels), tokens).all()
    apart = torch.arange(tokens) // block ** (levels - 1)
    if levels > 1:  # one level less leaves the top blocks to themselves
        assert torch.equal(reached(build(block, levels - 1), tokens), apart[:, None] == apart)
    apart = torch.arange(tokens + 2) // tokens
    assert torch.equal(reached(build(block, levels), tokens + 2), apart[:, None] == apart)


def test_one_level_is_attention_in_blocks_and_two_add_attention_between_summaries() -> None:
    torch.manual_seed(0)
    mixer, x = build(3, 2), torch.randn(1, 9, WIDTH, dtype=torch.float64)
    low, high = mixer.mixers
    inside = torch.cat([low.encode(part, dense(1, 3)) for part in x.split(3, 1)], 1)
    summaries = [(mixer.scores[0](part).softmax(1) * part).sum(1) for part in inside.split(3, 1)]
    above = high.encode(torch.stack(summaries, 1), dense(1, 3))
    torch.testing.assert_close(mixer.encode(x, dense(1, 9)), inside + above.repeat_interleave(3, 1))


def test_blocks_count_from_the_start_of_a_document_and_stay_in_it() -> None:
    torch.manual_seed(0)
    mixer, x = build(2, 2), torch.randn(1, 8, WIDTH, dtype=torch.float64, requires_grad=True)
    y = mixer.encode(x, packed([[3, 5]], 8))
    for t, seen in ((1, [0, 1, 2]), (4, [3, 4, 5, 6]), (7, [7])):
        (grad,) = torch.autograd.grad(y[0, t].sum(), x, retain_graph=True)
        assert grad[0].abs().sum(-1).nonzero().flatten().tolist() == seen


def test_it_holds_any_mixer_and_stands_in_encoders_only() -> None:
    mixer = HierarchyConfig(block=3, mixer=LSTMConfig()).build(WIDTH, Positions())  # both ways inside blocks
    assert torch.isfinite(mixer.encode(torch.randn(2, 10, WIDTH), dense(2, 10))).all()
    with pytest.raises(UserError, match="use it in an encoder"):
        DecoderConfig(width=WIDTH, layers=1, mixer=HierarchyConfig()).build(vocab_size=5)
    with pytest.raises(UserError, match="heads=3"):
        HierarchyConfig(mixer=AttentionConfig(heads=3)).queries(WIDTH)
    with pytest.raises(UserError, match="mixes nothing"):
        HierarchyConfig(mixer=NoMixerConfig())
