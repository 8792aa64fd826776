import pytest
import torch
from torch import nn

from transduce.reproduce.ancestors.resnet import Block, perceptron, plain, projection, resnet


def layers(network: nn.Module) -> list[nn.Module]:
    kinds = (nn.Conv2d, nn.Linear)
    return [m for m in network.modules() if isinstance(m, kinds) and getattr(m, "kernel_size", (3, 3)) != (1, 1)]


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_depth_counts_layers_with_weights(depth: int) -> None:
    with torch.device("meta"):
        assert len(layers(resnet(depth))) == len(layers(resnet(depth, plain))) == depth


def test_resnet_20_has_the_published_parameters_but_for_its_projections() -> None:
    network = resnet(20, channels=3)
    assert sum(p.numel() for p in network.parameters()) == 272_474  # 0.27M of table 6, and 2 projections with BatchNorm
    assert sum(p.numel() for p in resnet(20, plain, channels=3).parameters()) == 272_474 - (
        16 * 32 + 64 + 32 * 64 + 128
    )
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_a_block_adds_to_what_it_is_given() -> None:
    block, x = Block(4, 4, 1, projection).eval(), torch.randn(2, 4, 5, 5)
    last = block.function[-1]
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    torch.testing.assert_close(block(x), x.relu())
    without = Block(4, 4, 1, plain).eval()
    nn.init.zeros_(without.function[-1].weight)  # type: ignore[arg-type]
    assert without(x).abs().max() == 0


def test_stages_halve_the_image() -> None:
    network = resnet(8)
    shapes, x = [], torch.zeros(1, 1, 8, 8)
    for part in network:
        x = part(x)
        shapes.append(tuple(x.shape[1:]))
    assert [s for s in shapes if len(s) == 3][-4:] == [(16, 8, 8), (32, 4, 4), (64, 2, 2), (64, 1, 1)]


def test_a_perceptron_with_and_without_residuals_has_the_same_weights() -> None:
    one, other = (perceptron(5, 7, 4, 3, residual) for residual in (True, False))
    assert [p.shape for p in one.parameters()] == [p.shape for p in other.parameters()]
    other.load_state_dict(dict(zip(other.state_dict(), one.state_dict().values(), strict=True)))
    x = torch.randn(2, 5)
    first, *hidden, last = other
    h = first(x)
    for layer in hidden:
        h = h + layer(h)
    torch.testing.assert_close(one(x), last(h))
