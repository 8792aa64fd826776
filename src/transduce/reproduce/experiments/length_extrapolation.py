"""Trained on short sequences, used on long ones: which positions allow it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.reproduce import draw
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import TextExperiment
from transduce.reproduce.fit import adam, decoder, fit, score
from transduce.reproduce.mark import Mark, Measurements

POSITIONS = ("sinusoidal", "learned", "rotary", "alibi", "t5", "transformer-xl", "none")


@dataclass(frozen=True, kw_only=True)
class LengthExtrapolation(TextExperiment):
    """Language models of characters, trained on rows of 64, their loss on rows of up to four times as many."""

    kind: ClassVar[str] = "length-extrapolation"
    claim = (
        "With linear biases of distance a model reads longer texts than it was trained on; with sinusoids it does not."
    )
    source = "Press, Smith, Lewis 2022, arXiv:2108.12409"
    paper = "trained on 512 or 1,024 tokens, perplexity keeps falling to twice the length, that of sinusoids explodes"
    marks = (
        Mark("loss at 4 times the length - at the length, alibi", "<=", 0.02, proposed=True),
        Mark("loss at 4 times the length - at the length, sinusoidal", ">=", 0.2, proposed=True),
    )
    minutes = 8
    explain = (
        "The learned table has places beyond the 64 that were trained, with the values they started from. Whole rows "
        "are scored, so longer rows also have more context: a model that can use it does better on them."
    )
    width: int = 96
    layers: int = 3
    tokens: int = 64
    times: tuple[int, ...] = (1, 2, 3, 4)
    steps: int = 400
    rate: float = 2e-3
    batch: int = 16

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        values: Measurements = {}
        for positions in POSITIONS:
            values[f"losses, {positions}"] = losses = self.trained(positions, corpus, seed)
            values[f"loss at 4 times the length - at the length, {positions}"] = losses[-1] - losses[0]
        return values

    def trained(self, positions: str, corpus: Corpus, seed: int) -> list[float]:
        """Returns the losses on rows of every length."""
        generator = torch.Generator().manual_seed(seed)
        model = decoder(corpus.symbols, seed, width=self.width, layers=self.layers, positions=positions)

        def loss() -> Tensor:
            return score(model, corpus.draw(self.batch, self.tokens, generator)).loss

        fit(model, loss, self.steps, adam(model, self.rate))
        return [corpus.loss(model, n * self.tokens, rows=16, most=24_576) for n in self.times]

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": f"Trained on rows of {self.tokens}", "xlabel": "length of the rows that are read (characters)",
             "ylabel": "loss (nats per character)"}
        )  # fmt: skip
        lengths = [n * self.tokens for n in self.times]
        draw.lines(axes[0], results, lengths, {name: f"losses, {name}" for name in POSITIONS}, "o")
        return figure
