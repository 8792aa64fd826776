"""Residual learning: y = x + F(x), and the plain networks it was compared with.   He et al. 2015, arXiv:1512.03385."""

from collections.abc import Callable

from torch import Tensor, nn

Shortcut = Callable[[int, int, int], nn.Module | None]  # maps below, maps, stride -> S, None: there is none


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Returns the identity, or where the shape changes a convolution of 1 by 1: option B of sec. 3.3."""
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def plain(inputs: int, outputs: int, stride: int) -> None:
    """Returns no shortcut: the network of the same layers without residuals."""
    return None


class Block(nn.Module):
    """relu(F(x) + S(x)), F two convolutions of 3 by 3 with BatchNorm; relu(F(x)) where there is no S."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.function = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(x)
        return (y if self.shortcut is None else y + self.shortcut(x)).relu()


def resnet(
    depth: int = 20,
    shortcut: Shortcut = projection,
    widths: tuple[int, ...] = (16, 32, 64),
    channels: int = 1,
    classes: int = 10,
) -> nn.Sequential:
    """Returns `depth` = 2 len(widths) n + 2 layers: n blocks of each width, halving the image in between.  Sec. 4.2."""
    blocks, rest = divmod(depth - 2, 2 * len(widths))
    assert rest == 0, f"{depth} layers are not 2 and a multiple of {2 * len(widths)}"
    layers: list[nn.Module] = [
        nn.Conv2d(channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
    ]  # fmt: skip
    inputs = widths[0]
    for stage, width in enumerate(widths):
        for number in range(blocks):
            layers.append(Block(inputs, width, 2 if stage and not number else 1, shortcut))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class Residual(nn.Module):
    """x + F(x)."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return x + self.function(x)


def perceptron(inputs: int, width: int, depth: int, classes: int, residual: bool) -> nn.Sequential:
    """Returns a multilayer perceptron of `depth` layers of tanh, each with x + F(x) or without."""
    layers: list[nn.Module] = [nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(depth)]
    layers = [Residual(layer) for layer in layers] if residual else layers
    return nn.Sequential(nn.Linear(inputs, width), *layers, nn.Linear(width, classes))
