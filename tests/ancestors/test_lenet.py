import torch

from transduce.ancestors.lenet import SEES, Partial, Subsample, lenet5, modern_lenet, small_lenet, squash


def test_lenet5_has_the_parameters_of_the_paper_layer_by_layer() -> None:
    network = lenet5()
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in network.features.children()]
    assert [n for n in sizes if n] == [156, 12, 1516, 32, 48_120, 10_164]
    assert sum(sizes) == 60_000
    assert sum(p.numel() for p in network.parameters()) == 60_850  # with a linear output
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


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


def test_small_ones_read_eight_by_eight() -> None:
    for build in (small_lenet, modern_lenet):
        assert build(5)(torch.zeros(3, 1, 8, 8)).shape == (3, 5)
