"""Five layers of logistic units do not learn from random weights, and do from weights learnt without labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

from transduce.reproduce import draw
from transduce.reproduce.ancestors.digits import Digits, digits
from transduce.reproduce.ancestors.pretraining import Learn, contrastive, denoising, pretrain
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import adam, fit
from transduce.reproduce.mark import Mark, Measurements


@dataclass(frozen=True, kw_only=True)
class LayerwisePretraining(Experiment):
    """Digits, layers of 100 logistic units; SGD with all labels, and Adam with 100 of them."""

    kind: ClassVar[str] = "layerwise-pretraining"
    claim = "Layer by layer, unsupervised pre-training makes deep networks of logistic units trainable."
    source = "Erhan, Bengio, Courville, Manzagol, Vincent, Bengio 2010, JMLR 11:625-660"
    marks = (
        Mark("SGD, pre-trained", ">=", 0.92),
        Mark("SGD, random", "<=", 0.12),
        Mark("Adam with 100 labels, pre-trained", ">=", 0.83),
        Mark("one hidden layer, difference", "<=", 0.02),
    )
    minutes = 3
    explain = (
        "Which 100 labels are given depends on the seed: with one draw of three, pre-training reaches 0.79, below the "
        "mark, where the same network from random start values reaches 0.57. The advantage is there in every seed."
    )
    layers: int = 5
    width: int = 100
    epochs: int = 30
    steps: int = 1500
    batch: int = 64
    labels: int = 100
    sgd_rate: float = 0.1
    adam_rate: float = 1e-3

    def run(self, seed: int) -> Measurements:
        train, test = digits(seed)
        few = train.only(torch.arange(self.labels))
        auto, boltzmann = denoising(epochs=self.epochs), contrastive(epochs=self.epochs)

        def accuracy(layers: int, learn: Learn | None, data: Digits, sgd: bool) -> float:
            torch.manual_seed(seed)  # every network starts from the same weights
            generator = torch.Generator().manual_seed(seed)
            sizes = [64] + [self.width] * layers
            stack = [nn.Linear(i, o) for i, o in pairwise(sizes)]
            if learn is not None:
                pretrain(stack, train.images.flatten(1), learn, generator)
            hidden = [part for layer in stack for part in (layer, nn.Sigmoid())]
            model = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(self.width, 10))
            optimizer = torch.optim.SGD(model.parameters(), self.sgd_rate) if sgd else adam(model, self.adam_rate)

            def loss() -> torch.Tensor:
                batch = data.draw(self.batch, generator)
                return F.cross_entropy(model(batch.images), batch.labels)

            fit(model, loss, self.steps, optimizer)
            return float((model(test.images).argmax(1) == test.labels).float().mean())

        one = [accuracy(1, learn, train, sgd=False) for learn in (auto, None)]
        return {
            "SGD, random": accuracy(self.layers, None, train, sgd=True),
            "SGD, pre-trained": accuracy(self.layers, auto, train, sgd=True),
            "SGD, pre-trained as Boltzmann machines": accuracy(self.layers, boltzmann, train, sgd=True),
            "Adam with 100 labels, random": accuracy(self.layers, None, few, sgd=False),
            "Adam with 100 labels, pre-trained": accuracy(self.layers, auto, few, sgd=False),
            "one hidden layer, pre-trained": one[0],
            "one hidden layer, random": one[1],
            "one hidden layer, difference": abs(one[0] - one[1]),
        }

    def plot(self, results: Sequence[Measurements]) -> Figure:
        names = [name for name in results[0] if "difference" not in name]
        figure, axes = draw.figure({"title": "Digits, five layers unless said", "xlabel": "accuracy", "xlim": (0, 1.1)})
        draw.bars(axes[0], results, {name: name for name in names})
        return figure
