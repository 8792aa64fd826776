from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn

from transduce.reproduce.ancestors.lenet import (
    SEES,
    LeNet,
    Partial,
    Squash,
    Subsample,
    lenet5,
    modern_lenet,
    small_lenet,
    squash,
)


def test_lenet5_has_the_parameters_of_the_paper_layer_by_layer() -> None:
    network = lenet5()
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in network.features.children()]
    assert [n for n in sizes if n] == [156, 12, 1516, 32, 48_120, 10_164]
    assert sum(sizes) == 60_000
    assert sum(p.numel() for p in network.parameters()) == 60_850  # with a linear output
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("build", "side"), [(lenet5, 32), (small_lenet, 8)])
def test_every_layer_below_the_output_is_squashed(build: Callable[[], LeNet], side: int) -> None:
    layers = list(build().features.children())
    x, bounded = 100 * torch.randn(2, 1, side, side), 0
    for layer, after in pairwise([*layers, Squash()]):
        x = layer(x)
        if isinstance(layer, nn.Conv2d | Partial | nn.Linear):
            assert isinstance(after, Squash)
        if isinstance(layer, Squash | Subsample):
            assert x.abs().max() <= 1.716
            bounded += 1
    assert bounded == (6 if build is lenet5 else 5)  # C1, S2, C3, S4, (C5,) F6


def test_the_table_of_the_paper() -> None:
    assert [len(seen) for seen in SEES] == [3] * 6 + [4] * 9 + [6]
    assert SEES[5] == [5, 0, 1]
    assert SEES[12:15] == [[0, 1, 3, 4], [1, 2, 4, 5], [2, 3, 5, 0]]
    assert all(len(set(seen)) == len(seen) for seen in SEES)
    assert sorted(i for seen in SEES for i in seen) == sorted(10 * list(range(6)))  # every map is seen ten times


def test_a_partial_convolution_sees_only_its_maps() -> None:
    layer = Partial([[0, 2], [1]], 3)
    x = torch.randn(1, 3, 5, 5, requires_grad=True)
    layer(x)[0, 0].sum().backward()
    assert x.grad is not None
    assert x.grad[0, 1].abs().max() == 0 < x.grad[0, [0, 2]].abs().min()


def test_subsampling_is_the_formula() -> None:
    layer = Subsample(2)
    with torch.no_grad():
        layer.weight[1], layer.bias[1] = 3.0, 0.5
    x = torch.randn(1, 2, 4, 6)
    mean = (x[:, 1, ::2, ::2] + x[:, 1, 1::2, ::2] + x[:, 1, ::2, 1::2] + x[:, 1, 1::2, 1::2]) / 4
    torch.testing.assert_close(layer(x)[:, 1], squash(3 * mean + 0.5))
    torch.testing.assert_close(squash(torch.tensor(1.0)), torch.tensor(1.0), atol=1e-4, rtol=0)


def test_maps_move_with_the_image() -> None:
    """Through S4, four pixels of the image are one unit of the maps; whoever sees the border is left out."""
    layers = lenet5().features[:6]  # type: ignore[index]
    image = torch.randn(2, 1, 32, 32)
    maps = layers(image)
    assert maps.shape == (2, 16, 5, 5)
    for axis in (2, 3):
        moved = layers(image.roll(4, axis))
        torch.testing.assert_close(moved.narrow(axis, 1, 4), maps.narrow(axis, 0, 4), atol=1e-6, rtol=0)


def test_small_ones_read_eight_by_eight() -> None:
    for build in (small_lenet, modern_lenet):
        assert build(5)(torch.zeros(3, 1, 8, 8)).shape == (3, 5)
