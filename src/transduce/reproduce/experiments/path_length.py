"""The first token, recalled: the further back, the fewer steps must lie between."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure

from transduce.model.layout import dense
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import BARE, Score, Tagger, adam, graded, gradients, late, learn, tagger, tags
from transduce.reproduce.mark import Mark, Measurements
from transduce.reproduce.tasks import recall

NAMES = ("attention", "hierarchy", "temporal convolution", "LSTM", "Elman")


@dataclass(frozen=True, kw_only=True)
class PathLength(Experiment):
    """Each network is trained anew at each length to name the first symbol at the last place."""

    kind: ClassVar[str] = "path-length"
    claim = "Attention recalls over any distance; recurrent networks, whose path is as long as the distance, do not."
    source = "Vaswani et al. 2017, table 1; Bai, Kolter, Koltun 2018, arXiv:1803.01271; Culurciello 2018"
    marks = (
        Mark("accuracy, attention, 256", ">=", 0.95, proposed=True),
        Mark("accuracy, hierarchy, 256", ">=", 0.95, proposed=True),
        Mark("accuracy, temporal convolution, 256", ">=", 0.95, proposed=True),
        Mark("accuracy, LSTM, 256", "<=", 0.2, proposed=True),
        Mark("accuracy, Elman, 50", "<=", 0.2),
        Mark("tokens that reach the last place - formula", "=", 0),
    )
    minutes = 9
    explain = (
        "Steps between first and last of n tokens: 1 in attention, 2 levels up and down in the hierarchy, the "
        "logarithm of n in convolutions of dilation 1, 2, 4, ..., n - 1 in recurrent networks. The LSTM starts with "
        "the usual forget bias of 1; with 5 it learns this (see `vanishing-gradient`). Chance is 0.125. The temporal "
        "convolution does reach the first token (last mark), but did not learn to recall it within 1,000 updates; the "
        "published networks of this kind have residual blocks of two convolutions and train longer. A short path "
        "alone is not enough."
    )
    lengths: tuple[int, ...] = (10, 50, 256)
    symbols: int = 8
    width: int = 64
    kernel: int = 3
    steps: int = 1000
    rate: float = 1e-3
    batch: int = 32

    def run(self, seed: int) -> Measurements:
        values: Measurements = {}
        for name in NAMES:
            values[f"accuracies, {name}"] = accuracies = [self.accuracy(name, length, seed) for length in self.lengths]
            for length, accuracy in zip(self.lengths, accuracies, strict=True):
                values[f"accuracy, {name}, {length}"] = accuracy
        values["tokens that reach the last place - formula"] = self.beyond_formula(seed)
        return values

    def accuracy(self, name: str, length: int, seed: int) -> float:
        """Returns the accuracy of the last batches of a training."""
        generator, model = torch.Generator().manual_seed(seed), self.model(name, length, seed)

        def ask() -> Score:
            task = recall(self.batch, length, self.symbols, generator)
            return graded(tags(model, task.ids), task.targets)

        return late(learn(model, ask, self.steps, adam(model, self.rate), enough=0.99, window=20).accuracies, 20)

    def model(self, name: str, length: int, seed: int) -> Tagger:
        kinds: dict[str, dict[str, Any]] = {
            "attention": {"layers": 1},
            "hierarchy": {"layers": 1, "mixer": {"kind": "hierarchy", "block": 16, "levels": 2}},
            "temporal convolution": {"positions": "none", "feedforward": "none", "layers": self.dilated(length)},
            "LSTM": {"layers": 1, "mixer": "lstm", **BARE},
            "Elman": {"layers": 1, "mixer": "elman", **BARE},
        }
        causal = name != "hierarchy"  # it sums up blocks, which is for encoders
        return tagger(self.symbols, self.symbols, seed, causal=causal, width=self.width, **kinds[name])

    def dilated(self, length: int) -> list[dict[str, Any]]:
        """Returns convolutions of dilation 1, 2, 4, ... that see the whole sequence."""
        layers, seen = list[dict[str, Any]](), 1
        while seen < length:
            dilation = 2 ** len(layers)
            layers.append({"mixer": {"kind": "convolution", "kernel": self.kernel, "dilation": dilation}})
            seen += (self.kernel - 1) * dilation
        return layers

    def beyond_formula(self, seed: int) -> int:
        """Returns tokens whose gradient reaches the end, less 1 + (K - 1) times the sum of dilations."""
        model = self.model("temporal convolution", 50, seed)
        x = torch.randn(1, 100, self.width, requires_grad=True)
        y, _ = model.stack(x, dense(1, 100))
        [gradient] = gradients(y[0, -1].square().sum(), x)
        reached = int((gradient[0].abs().amax(-1) > 0).sum())
        return reached - (1 + (self.kernel - 1) * (2 ** len(self.dilated(50)) - 1))

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Recalling the first symbol", "xlabel": "tokens", "xscale": "log",
             "ylabel": f"accuracy after at most {self.steps:,} updates", "ylim": (0, 1.03)}
        )  # fmt: skip
        draw.lines(axes[0], results, self.lengths, {name: f"accuracies, {name}" for name in NAMES}, "o")
        draw.level(axes[0], 1 / self.symbols, "chance")
        return figure
