"""A norm that does not subtract the mean: as good, and less work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.model.norms.norm import LayerNorm, NormConfig, RMSNorm
from transduce.reproduce import draw
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import TextExperiment
from transduce.reproduce.experiments.cost_per_token import best
from transduce.reproduce.fit import adam, decoder, fit, score
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements

NORMS = {"LayerNorm": "layer-norm", "RMSNorm": "rms-norm"}


@dataclass(frozen=True, kw_only=True)
class RmsNorm(TextExperiment):
    """The same Transformer of characters with either norm; and either norm alone, forward and backward."""

    kind: ClassVar[str] = "rms-norm"
    claim = "RMSNorm gives the loss of LayerNorm in less time."
    source = "Zhang & Sennrich 2019, arXiv:1910.07467"
    paper = "7% to 64% less time for a whole training step, equal quality"
    marks = (
        Mark("loss, RMSNorm - LayerNorm", "<=", 0.02, over="the mean", proposed=True),
        Mark("time of a norm, RMSNorm / LayerNorm", "<=", 0.93, over="the mean", proposed=True),
    )
    history = (
        Change(
            first="milliseconds by the clock",
            gave="1.92 of the time of LayerNorm in the mean (mark 0.93)",
            then="CPU milliseconds of the process",
            why="the clock counts what other programs do",
        ),
    )
    minutes = 5
    explain = (
        "LayerNorm is one fused kernel of torch on a CPU, forward and backward; of RMSNorm only the forward pass is, "
        "and ours has a backward pass of a few operations (that of torch alone took three times as long as LayerNorm). "
        "It says less about the norms than about who has written their kernels."
    )
    width: int = 128
    layers: int = 4
    tokens: int = 64
    steps: int = 400
    rate: float = 1e-3
    batch: int = 16
    shape: tuple[int, ...] = (2048, 512)

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        values: Measurements = {}
        for name, norm in NORMS.items():
            values |= self.trained(name, norm, corpus, seed)
        for name, norm in (("LayerNorm", LayerNorm()), ("RMSNorm", RMSNorm())):
            values[f"milliseconds, {name}"] = self.timed(norm)
        values["loss, RMSNorm - LayerNorm"] = values["loss, RMSNorm"] - values["loss, LayerNorm"]
        values["time of a norm, RMSNorm / LayerNorm"] = (
            values["milliseconds, RMSNorm"] / values["milliseconds, LayerNorm"]
        )
        return values

    def trained(self, name: str, norm: str, corpus: Corpus, seed: int) -> Measurements:
        generator = torch.Generator().manual_seed(seed)
        model = decoder(corpus.symbols, seed, width=self.width, layers=self.layers, norm=norm)

        def loss() -> Tensor:
            return score(model, corpus.draw(self.batch, self.tokens, generator)).loss

        losses = fit(model, loss, self.steps, adam(model, self.rate))
        return {f"losses, {name}": draw.means(losses), f"loss, {name}": corpus.loss(model, self.tokens, most=20_000)}

    def timed(self, norm: NormConfig) -> float:
        """Returns milliseconds of one norm, forward and backward."""
        x, module = torch.randn(self.shape, requires_grad=True), norm.build(self.shape[-1])
        return 1e3 * best(lambda: torch.autograd.grad(module(x).sum(), [x, *module.parameters()]), 50)

    def plot(self, results: Sequence[Measurements]) -> Figure:
        shape = " by ".join(f"{n:,}" for n in self.shape)
        figure, axes = draw.figure(
            {"title": "Training", "xlabel": "update", "ylabel": "loss (nats per character, mean of 10)"},
            {"title": f"A norm of {shape}, forward and backward", "xlabel": "milliseconds"},
        )
        draw.lines(axes[0], results, draw.UPDATES, {name: f"losses, {name}" for name in NORMS})
        draw.bars(axes[1], results, {name: f"milliseconds, {name}" for name in NORMS})
        return figure
