"""A network that reads some digits learns others from few examples: all layers but the last are kept."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn

from transduce.reproduce import draw
from transduce.reproduce.ancestors.digits import Digits, digits
from transduce.reproduce.ancestors.lenet import LeNet, small_lenet
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import fit
from transduce.reproduce.mark import Mark, Measurements


@dataclass(frozen=True, kw_only=True)
class Transfer(Experiment):
    """LeNet learns 0 to 4, then 5 to 9 with a new head, from 10 examples of each."""

    kind: ClassVar[str] = "transfer"
    claim = "Layers learnt on one task, with a new head, learn a second task from fewer examples than from scratch."
    source = "Yosinski, Clune, Bengio, Lipson 2014, arXiv:1411.1792"
    marks = (Mark("fine-tuned - from scratch", ">=", 0.02, over="the mean"),)
    minutes = 0.3
    explain = (
        "Five classes are a poor source: with the layers below frozen and only the head trained, the transferred "
        "network may do worse than one trained from scratch."
    )
    steps: int = 400
    examples: int = 10
    rate: float = 2e-3
    batch: int = 64

    def run(self, seed: int) -> Measurements:
        train, test = digits(seed)
        low = train.only(train.labels < 5)
        high = Digits(train.images, train.labels - 5)
        few = high.only(torch.cat([(high.labels == c).nonzero()[: self.examples, 0] for c in range(5)]))
        source, fresh = small_lenet(5), small_lenet(5)
        self.train(source, source, low, seed)
        tuned, frozen = copy.deepcopy(source), copy.deepcopy(source)
        tuned.head, frozen.head = nn.Linear(84, 5), nn.Linear(84, 5)
        for model, trained in ((tuned, tuned), (frozen, frozen.head), (fresh, fresh)):
            self.train(model, trained, few, seed)
        shown = test.only(test.labels >= 5)
        scores = [
            float((model(shown.images).argmax(1) + 5 == shown.labels).float().mean())
            for model in (tuned, frozen, fresh)
        ]
        return {
            "fine-tuned": scores[0],
            "head only": scores[1],
            "from scratch": scores[2],
            "fine-tuned - from scratch": scores[0] - scores[2],
        }

    def train(self, model: LeNet, trained: nn.Module, data: Digits, seed: int) -> None:
        """Minimises the loss of the model over the weights of a part of it."""
        generator = torch.Generator().manual_seed(seed)

        def loss() -> torch.Tensor:
            batch = data.draw(self.batch, generator)
            return F.cross_entropy(model(batch.images), batch.labels)

        fit(model, loss, self.steps, torch.optim.Adam(trained.parameters(), self.rate))

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": f"Digits 5 to 9 from {self.examples} examples of each", "xlabel": "accuracy", "xlim": (0, 1.1)}
        )
        names = ("fine-tuned", "from scratch", "head only")
        draw.bars(axes[0], results, {name: name for name in names}, ".3f")
        return figure
