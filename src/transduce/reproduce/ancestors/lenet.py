"""Convolutional networks: local weights, shared over the image, then subsampling."""

import torch
from torch import Tensor, nn

# Which of the 6 maps of S2 each of the 16 maps of C3 sees.   LeCun et al. 1998, table 1.
SEES = [
    *([(i + j) % 6 for j in range(3)] for i in range(6)),
    *([(i + j) % 6 for j in range(4)] for i in range(6)),
    *([i, i + 1, (i + 3) % 6, (i + 4) % 6] for i in range(3)),
    list(range(6)),
]  # fmt: skip


def squash(x: Tensor) -> Tensor:
    """1.7159 tanh(2 x / 3): about the identity around 1.   LeCun et al. 1998, appendix A."""
    return 1.7159 * torch.tanh(2 / 3 * x)


class Subsample(nn.Module):
    """squash(w mean + b) over 2 by 2 pixels, one w and one b per map.   LeCun et al. 1998, sec. II.B."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(maps, 1, 1)), nn.Parameter(torch.zeros(maps, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return squash(self.weight * nn.functional.avg_pool2d(x, 2) + self.bias)


class Squash(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return squash(x)


class Partial(nn.Module):
    """A convolution each of whose maps sees some of the maps below, so that they become different."""

    def __init__(self, sees: list[list[int]], kernel: int) -> None:
        super().__init__()
        self.sees, self.maps = sees, nn.ModuleList(nn.Conv2d(len(seen), 1, kernel) for seen in sees)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([conv(x[:, seen]) for seen, conv in zip(self.sees, self.maps, strict=True)], 1)


class LeNet(nn.Module):
    """features (B, 1, height, width) -> (B, 84), and a linear head, which may be replaced.

    The output units of 1998 were distances to fixed pictures of the digits; a linear layer with cross entropy has
    taken their place.
    """

    def __init__(self, features: nn.Module, classes: int) -> None:
        super().__init__()
        self.features, self.head = features, nn.Linear(84, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def lenet5(classes: int = 10) -> LeNet:
    """Returns LeNet-5 for images of 32 by 32: C1, S2, C3, S4, C5, F6.   LeCun, Bottou, Bengio, Haffner 1998, fig. 2.

    The units of every layer up to F6 are squashed (sec. II.B).
    """
    features = nn.Sequential(
        nn.Conv2d(1, 6, 5), Squash(), Subsample(6),
        Partial(SEES, 5), Squash(), Subsample(16),
        nn.Conv2d(16, 120, 5), Squash(), nn.Flatten(),
        nn.Linear(120, 84), Squash(),
    )  # fmt: skip
    return LeNet(features, classes)


def small_lenet(classes: int = 10) -> LeNet:
    """Returns the same for images of 8 by 8: kernels of 3, borders of zeros, every map sees all below."""
    features = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), Squash(), Subsample(6),
        nn.Conv2d(6, 16, 3, padding=1), Squash(), Subsample(16),
        nn.Flatten(), nn.Linear(64, 84), Squash(),
    )  # fmt: skip
    return LeNet(features, classes)


def modern_lenet(classes: int = 10) -> LeNet:
    """Returns `small_lenet` with relu for squash, and the greatest of four pixels for their mean."""
    features = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 84), nn.ReLU(),
    )  # fmt: skip
    return LeNet(features, classes)
