"""Twenty layers train where each adds to what is there, and hardly where each replaces it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

from transduce.reproduce import draw
from transduce.reproduce.ancestors.digits import Digits, digits
from transduce.reproduce.ancestors.resnet import Residual, perceptron, plain, projection, resnet
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import adam, fit, gradients, late, norms
from transduce.reproduce.mark import Mark, Measurements


@dataclass(frozen=True, kw_only=True)
class ResidualDepth(Experiment):
    """The same layers of tanh with and without x + F(x), and ResNet-20 beside its plain network, on digits."""

    kind: ClassVar[str] = "residual-depth"
    claim = "Residual connections let deep networks train: plain ones of equal depth have a larger training error."
    source = "He, Zhang, Ren, Sun 2015, arXiv:1512.03385"
    paper = "CIFAR-10: test error 8.75% of ResNet-20, 6.97% of 56 layers; plain networks get worse with depth"
    marks = (
        Mark("training loss, plain / residual", ">=", 3, proposed=True),
        Mark("gradient, first / last layer, residual", ">=", 0.1, proposed=True),
        Mark("gradient, first / last layer, plain", "<=", 1e-3, proposed=True),
        Mark("change by a block whose last layer is zero", "=", 0, proposed=True),
    )
    minutes = 4
    explain = (
        "The marks are on perceptrons of tanh, without normalisation. The convolutional networks are shown beside "
        "them: BatchNorm alone takes a plain network of 20 layers a long way."
    )
    depth: int = 20
    width: int = 64
    steps: int = 500
    rate: float = 1e-3
    batch: int = 64
    convolutional_widths: tuple[int, ...] = (8, 16, 32)

    def run(self, seed: int) -> Measurements:
        train, _ = digits(seed)
        found: Measurements = {}
        for name, residual in (("residual", True), ("plain", False)):
            model = nn.Sequential(nn.Flatten(), *perceptron(64, self.width, self.depth, 10, residual))
            start = F.cross_entropy(model(train.images), train.labels)
            matrices = [w for w in model.parameters() if w.ndim == 2][1:-1]
            found[f"gradients, {name}"] = lengths = norms(gradients(start, *matrices))
            found[f"gradient, first / last layer, {name}"] = lengths[0] / lengths[-1]
            losses = self.train(model, train, seed)
            found |= {f"losses, {name}": draw.means(losses), f"training loss, {name}": late(losses)}
        for name, shortcut in (("ResNet", projection), ("plain CNN", plain)):
            model = resnet(self.depth, shortcut, self.convolutional_widths)
            losses = self.train(model, train, seed)
            found |= {f"losses, {name}": draw.means(losses), f"training loss, {name}": late(losses)}
        found["training loss, plain / residual"] = found["training loss, plain"] / found["training loss, residual"]
        found["change by a block whose last layer is zero"] = identity_of_zero(self.width)
        return found

    def train(self, model: nn.Module, data: Digits, seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)

        def loss() -> torch.Tensor:
            batch = data.draw(self.batch, generator)
            return F.cross_entropy(model(batch.images), batch.labels)

        return fit(model, loss, self.steps, adam(model, self.rate))

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Before training", "xlabel": "layer", "ylabel": "norm of the gradient", "yscale": "log"},
            {"title": "Training", "xlabel": "update", "ylabel": "loss (nats, mean of 10)", "yscale": "log"},
        )
        both = ("residual", "plain")
        draw.lines(axes[0], results, None, {f"tanh, {name}": f"gradients, {name}" for name in both}, "o")
        kinds = {"tanh, residual": "residual", "tanh, plain": "plain", "ResNet": "ResNet", "plain CNN": "plain CNN"}
        draw.lines(axes[1], results, draw.UPDATES, {label: f"losses, {kind}" for label, kind in kinds.items()})
        return figure


def identity_of_zero(width: int) -> float:
    """Returns how far x + F(x) is from x where the last layer of F is zero."""
    last = nn.Linear(width, width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    x = torch.randn(3, width)
    block = Residual(nn.Sequential(nn.Linear(width, width), nn.Tanh(), last))
    return float((block(x) - x).detach().abs().max())
