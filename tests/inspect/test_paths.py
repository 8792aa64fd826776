import math

import pytest
import torch

from transduce.inspect.paths import depth, reach


@pytest.mark.parametrize("back", [0, 1, 3])
def test_reach_of_a_sum_over_the_last_tokens(back: int) -> None:
    x = torch.randn(5, 3).repeat(5, 1, 1).requires_grad_()
    band = torch.ones(5, 5).tril().triu(-back)
    assert torch.equal(reach(x, band @ x), band.bool())


def test_reach_of_one_feature_is_enough() -> None:
    x = torch.randn(4, 3).repeat(4, 1, 1).requires_grad_()
    y = torch.cat([x.cumsum(1)[..., :1], x[..., 1:]], -1)
    assert torch.equal(reach(x, y), torch.ones(4, 4).tril().bool())


def test_depth_is_that_of_the_longest_way() -> None:
    x, other = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    assert depth(x.exp(), x) == 1
    assert depth(x.exp().sin() + x, x) == 3
    assert depth(x * other.exp().exp().exp(), x) == 1, "chains to other tensors do not count"
    assert depth(other.exp(), x) == -math.inf


def test_depth_of_a_long_chain_whose_ways_are_many() -> None:
    x = y = torch.randn(3, requires_grad=True)
    for _ in range(2000):
        y = y * y
    assert depth(y, x) == 2000
