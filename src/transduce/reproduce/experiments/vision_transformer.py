"""Attention between patches reads an image, with no convolution anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from transduce.reproduce import draw
from transduce.reproduce.ancestors.digits import Digits, digits
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import adam, fit, size
from transduce.reproduce.mark import Mark, Measurements
from transduce.reproduce.vision import VisionTransformer


@dataclass(frozen=True, kw_only=True)
class VisionTransformerOnDigits(Experiment):
    """Digits of 8 by 8 pixels as 16 patches of 2 by 2, 500 of the 1,797 for testing."""

    kind: ClassVar[str] = "vision-transformer"
    claim = "A Transformer reads images as sequences of patches, and knows where a patch stands by its position alone."
    source = "Dosovitskiy et al. 2020, arXiv:2010.11929"
    paper = "ViT-B/16, 86M parameters, with 300M images of pre-training: 84.2% of ImageNet"
    marks = (
        Mark("test accuracy", ">=", 0.95),
        Mark("parameters of ViT-B/16 with 1,000 classes", "=", 86_567_656),
        Mark("change when patches move with their positions", "<=", 1e-5),
        Mark("change when patches move without them", ">=", 0.1, proposed=True),
    )
    minutes = 1
    layers: int = 3
    width: int = 64
    heads: int = 4
    steps: int = 1500
    rate: float = 1e-3
    batch: int = 64

    def run(self, seed: int) -> Measurements:
        torch.manual_seed(seed)
        train, test = digits(seed)
        model = VisionTransformer(
            10, seed, size=8, patch=2, channels=1, width=self.width, layers=self.layers, heads=self.heads
        )
        generator = torch.Generator().manual_seed(seed)

        def loss() -> Tensor:
            batch = train.draw(self.batch, generator)
            return F.cross_entropy(model(batch.images), batch.labels)

        losses = fit(model, loss, self.steps, adam(model, self.rate))
        return {
            "losses": draw.means(losses),
            **self.tested(model, test, generator),
            "parameters of ViT-B/16 with 1,000 classes": parameters_of_base(),
        }

    @torch.no_grad()
    def tested(self, model: VisionTransformer, test: Digits, generator: torch.Generator) -> Measurements:
        right = (model(test.images).argmax(1) == test.labels).float()
        images, model = test.images.double(), model.double()
        logits, patches = model(images), model.patches(images)
        order = torch.randperm(patches.shape[1], generator=generator)
        there = torch.arange(len(order))
        return {
            "test accuracy": float(right.mean()),
            "accuracy by digit": [float(right[test.labels == digit].mean()) for digit in range(10)],
            "change when patches move with their positions": apart(model.read(patches[:, order], order), logits),
            "change when patches move without them": apart(model.read(patches[:, order], there), logits),
        }

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Training", "xlabel": "update", "ylabel": "loss (nats, mean of 10)", "yscale": "log"},
            {"title": "Images it has not seen", "xlabel": "digit", "ylabel": "accuracy", "ylim": (0.8, 1.01)},
        )
        draw.lines(axes[0], results, draw.UPDATES, {"16 patches": "losses"})
        draw.lines(axes[1], results, range(10), {"16 patches": "accuracy by digit"}, "o")
        return figure


def apart(x: Tensor, y: Tensor) -> float:
    return float((x - y).abs().max())


def parameters_of_base() -> int:
    """Returns those of the base model with patches of 16 by 16 pixels: counted on shapes, without numbers."""
    with torch.device("meta"):
        return size(VisionTransformer(1000, 0, size=224, patch=16, channels=3, width=768, layers=12, heads=12))
