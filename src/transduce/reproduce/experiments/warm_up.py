"""Without warm-up Post-LN does not train at a rate at which Pre-LN does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure

from transduce.reproduce import draw
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import TextExperiment
from transduce.reproduce.fit import adam, decoder, fit, score
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements


def positions_at_a_tenth(gave: str) -> Change:
    return Change(
        first="vectors of positions that start at a tenth of the size of those of tokens",
        gave=gave,
        then="vectors of positions start as large as those of tokens, which are multiplied by the root of the width",
        why="beside such tokens small positions are learnt late; the library has started so by default ever since",
    )


@dataclass(frozen=True, kw_only=True)
class Training(TextExperiment):
    """The part that `warm-up` and others share: one small Transformer, the norm elsewhere, Adam at a constant rate."""

    width: int = 128
    tokens: int = 64
    batch: int = 16

    def train(
        self, corpus: Corpus, seed: int, residual: str, layers: int, rate: float, *until: int, warm_up: int = 0
    ) -> tuple[list[float], list[float]]:
        """Trains for as many updates as the last of `until`.

        Returns the losses (means of 10), and the loss on the validation text after each of `until`, nats per character.
        """
        generator = torch.Generator().manual_seed(seed)
        model = decoder(
            corpus.symbols, seed, width=self.width, layers=layers, positions="learned", tie_embeddings=False,
            residual={"kind": residual, "dropout": 0.0},
        )  # fmt: skip
        optimizer, losses, valid = adam(model, rate, (0.9, 0.98)), list[float](), list[float]()

        def loss() -> torch.Tensor:
            return score(model, corpus.draw(self.batch, self.tokens, generator)).loss

        def schedule(step: int) -> float:
            return rising(before + step, rate, warm_up)

        for end in until:
            before = len(losses)
            losses += fit(model, loss, end - before, optimizer, schedule=schedule)
            valid.append(corpus.loss(model, self.tokens, most=20_000))
        return draw.means(losses), valid


def rising(step: int, rate: float, warm_up: int) -> float:
    """Returns a rate that rises in a straight line up to update `warm_up`, then is constant."""
    return rate * min(1.0, (step + 1) / max(1, warm_up))


@dataclass(frozen=True, kw_only=True)
class WarmUp(Training):
    """Six layers at 0.003 for 300 updates; Post-LN again with 400 updates of warm-up to 0.001, for 600."""

    kind: ClassVar[str] = "warm-up"
    claim = "Post-LN needs a warm-up, with which it trains; Pre-LN trains without."
    source = "Xiong et al. 2020, arXiv:2002.04745"
    paper = "IWSLT14 De-En without warm-up: Post-LN 8.45 BLEU, with warm-up about 34"
    marks = (
        Mark("Post-LN", ">=", 3.0, proposed=True),
        Mark("Pre-LN", "<=", 2.45, proposed=True),
        Mark("Post-LN with warm-up", "<=", 2.3, proposed=True),
    )
    minutes = 7
    explain = "3.3 nats is what the frequencies of the characters alone give: the model has learnt nothing else."
    history = (positions_at_a_tenth("Pre-LN 2.41 (2.39 to 2.45), Post-LN with warm-up 2.18; all marks were met"),)
    layers: int = 6
    steps: int = 300
    rate: float = 3e-3
    warm_rate: float = 1e-3
    warm_steps: int = 600
    warm_up: int = 400

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        values: Measurements = {}
        for name, residual in (("Post-LN", "post-norm"), ("Pre-LN", "pre-norm")):
            values[f"losses, {name}"], [values[name]] = self.train(
                corpus, seed, residual, self.layers, self.rate, self.steps
            )
        values["losses, Post-LN with warm-up"], [values["Post-LN with warm-up"]] = self.train(
            corpus, seed, "post-norm", self.layers, self.warm_rate, self.warm_steps, warm_up=self.warm_up
        )
        return values

    def plot(self, results: Sequence[Measurements]) -> Figure:
        return drawn(results, f"{self.layers} layers", ("Post-LN", "Pre-LN", "Post-LN with warm-up"))


@dataclass(frozen=True, kw_only=True)
class TwelveLayers(Training):
    """Twelve layers at 0.001, no warm-up, 300 updates, and 600; the residual in two streams beside the other two."""

    kind: ClassVar[str] = "twelve-layers"
    claim = "Two residual streams, one normalised and one not, train deep networks without warm-up; Post-LN does not."
    source = "Xie et al. 2023, arXiv:2304.14802 (ResiDual)"
    paper = "IWSLT14, 12 + 12 layers without warm-up: ResiDual 35.57 BLEU, Pre-LN 31.82, Post-LN fails"
    marks = (
        Mark("ResiDual", "<=", 2.65),
        Mark("ResiDual, twice the updates", "<=", 2.3),
        Mark("Post-LN", ">=", 3.0),
        Mark("Pre-LN", "<=", 2.45),
    )
    minutes = 10
    explain = (
        "ResiDual trains without warm-up, where Post-LN does not, but more slowly than Pre-LN: it needs nearly twice "
        "the updates for the same loss."
    )
    history = (positions_at_a_tenth("ResiDual, twice the updates: 2.33 (2.32 to 2.35), above its mark of 2.3"),)
    layers: int = 12
    steps: int = 300
    rate: float = 1e-3

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        values: Measurements = {}
        for name, residual in (("Post-LN", "post-norm"), ("Pre-LN", "pre-norm")):
            values[f"losses, {name}"], [values[name]] = self.train(
                corpus, seed, residual, self.layers, self.rate, self.steps
            )
        values["losses, ResiDual"], [values["ResiDual"], values["ResiDual, twice the updates"]] = self.train(
            corpus, seed, "residual-dual", self.layers, self.rate, self.steps, 2 * self.steps
        )
        return values

    def plot(self, results: Sequence[Measurements]) -> Figure:
        return drawn(
            results,
            f"{self.layers} layers, no warm-up",
            ("Post-LN", "Pre-LN", "ResiDual", "ResiDual, twice the updates"),
        )


def drawn(results: Sequence[Measurements], title: str, names: Sequence[str]) -> Figure:
    figure, axes = draw.figure(
        {"title": title, "xlabel": "update", "ylabel": "training loss (nats per character, mean of 10)"},
        {"title": "Validation at the end", "xlabel": "nats per character"},
    )
    draw.lines(axes[0], results, draw.UPDATES, {n: f"losses, {n}" for n in names if f"losses, {n}" in results[0]})
    draw.bars(axes[1], results, {name: name for name in names})
    return figure
