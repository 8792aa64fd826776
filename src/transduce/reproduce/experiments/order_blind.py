"""Attention alone does not know the order of what it reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure

from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import Score, adam, graded, late, learn, tagger, tags
from transduce.reproduce.mark import Mark, Measurements

POSITIONS = ("none", "sinusoidal", "learned", "rotary")


@dataclass(frozen=True, kw_only=True)
class OrderBlind(Experiment):
    """Rows in which every symbol stands once: does 0 stand before 1? An encoder, and the mean over its tokens."""

    kind: ClassVar[str] = "order-blind"
    claim = "Without positions an encoder of attention cannot tell the order of its tokens; with them it can."
    source = "Vaswani et al. 2017, arXiv:1706.03762, sec. 3.5"
    marks = (
        Mark("accuracy, none", "<=", 0.6, proposed=True),
        Mark("accuracy, sinusoidal", ">=", 0.95, proposed=True),
        Mark("change under shuffling, none", "<=", 1e-5),
        Mark("change under shuffling, sinusoidal", ">=", 1e-2, proposed=True),
    )
    minutes = 1
    symbols: int = 12
    width: int = 64
    steps: int = 300
    rate: float = 1e-3
    batch: int = 64

    def run(self, seed: int) -> Measurements:
        return {key: value for name in POSITIONS for key, value in self.trained(name, seed).items()}

    def trained(self, positions: str, seed: int) -> Measurements:
        generator = torch.Generator().manual_seed(seed)
        model = tagger(self.symbols, 2, seed, causal=False, width=self.width, layers=2, positions=positions)

        def ask() -> Score:
            places = torch.rand(self.batch, self.symbols, generator=generator).argsort(1)  # of each symbol
            return graded(tags(model, places.argsort(1)).mean(1), (places[:, 0] < places[:, 1]).long())

        right = learn(model, ask, self.steps, adam(model, self.rate)).accuracies
        ids = torch.rand(8, self.symbols, generator=generator).argsort(1)
        with torch.no_grad():
            change = (tags(model, ids).mean(1) - tags(model, ids.flip(1)).mean(1)).abs().max()
        return {
            f"accuracies, {positions}": draw.means(right),
            f"accuracy, {positions}": late(right),
            f"change under shuffling, {positions}": float(change),
        }

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Does one symbol stand before another?", "xlabel": "update",
             "ylabel": "accuracy (mean of 10 batches)", "ylim": (0.4, 1.03)}
        )  # fmt: skip
        draw.lines(axes[0], results, draw.UPDATES, {f"positions: {name}": f"accuracies, {name}" for name in POSITIONS})
        draw.level(axes[0], 0.5, "chance")
        return figure
