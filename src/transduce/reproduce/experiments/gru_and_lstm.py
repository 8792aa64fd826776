"""Two gated networks with as many recurrent parameters, on the same text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.reproduce import draw
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import TextExperiment
from transduce.reproduce.fit import BARE, adam, decoder, fit, score, size
from transduce.reproduce.mark import Mark, Measurements


@dataclass(frozen=True, kw_only=True)
class GruAndLstm(TextExperiment):
    """Language models of characters with one recurrent layer between two tables; Elman's network beside them."""

    kind: ClassVar[str] = "gru-and-lstm"
    claim = "GRUs are neither better nor worse than LSTMs of the same size."
    source = "Chung, Gulcehre, Cho, Bengio 2014, arXiv:1412.3555"
    paper = "no clear winner; in translation Britz et al. 2017, arXiv:1703.03906, find the LSTM ahead"
    marks = (Mark("difference of the losses", "<=", 0.1),)
    minutes = 3
    explain = (
        "As many recurrent parameters: 128 units of the LSTM, 152 of the GRU, 98,816 and 98,952 weights and biases of "
        "the gates. Elman's network of 256 units is close to both here: this task does not tell gated from simple "
        "cells; the recall of `vanishing-gradient` does. The forget gates have no bias at the start, as in 2014."
    )
    embedding: int = 64
    lstm: int = 128
    gru: int = 152
    elman: int = 256
    tokens: int = 64
    steps: int = 1000
    rate: float = 3e-3
    batch: int = 32

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        values = {
            **self.trained("LSTM", {"kind": "lstm", "size": self.lstm, "forget_bias": 0.0}, corpus, seed),
            **self.trained("GRU", {"kind": "gru", "size": self.gru}, corpus, seed),
            **self.trained("Elman", {"kind": "elman", "size": self.elman}, corpus, seed),
        }
        values["difference of the losses"] = abs(values["validation loss, GRU"] - values["validation loss, LSTM"])
        return values

    def trained(self, name: str, mixer: dict[str, Any], corpus: Corpus, seed: int) -> Measurements:
        generator = torch.Generator().manual_seed(seed)
        model = decoder(corpus.symbols, seed, width=self.embedding, layers=1, mixer=mixer, tie_embeddings=False, **BARE)

        def loss() -> Tensor:
            return score(model, corpus.draw(self.batch, self.tokens, generator)).loss

        losses = fit(model, loss, self.steps, adam(model, self.rate))
        return {
            f"losses, {name}": draw.means(losses),
            f"validation loss, {name}": corpus.loss(model, 2 * self.tokens),
            f"parameters, {name}": size(model),
        }

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Training", "xlabel": "update", "ylabel": "loss (nats per character, mean of 10)"},
            {"title": "Validation", "xlabel": "nats per character"},
        )
        names = ("LSTM", "GRU", "Elman")
        draw.lines(axes[0], results, draw.UPDATES, {name: f"losses, {name}" for name in names})
        draw.bars(axes[1], results, {name: f"validation loss, {name}" for name in names}, ".3f")
        return figure
