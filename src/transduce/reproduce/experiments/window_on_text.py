"""A learned window in the lower layers of a language model, where what matters is near."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.model.models import Model
from transduce.reproduce import draw
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import TextExperiment
from transduce.reproduce.fit import adam, decoder, fit, score, size
from transduce.reproduce.mark import Mark, Measurements

WINDOW = {"kind": "differentiable-window", "use": "additive"}
NAMES = ("window", "plain")


@dataclass(frozen=True, kw_only=True)
class WindowOnText(TextExperiment):
    """Language models of characters; the lower half of the layers has an additive window, or wider feed-forwards."""

    kind: ClassVar[str] = "window-on-text"
    claim = "On text a learned window in the lower layers costs no quality, with as many parameters."
    source = "Nguyen, Nguyen, Joty, Li 2020, arXiv:2006.13561"
    marks = (Mark("validation loss, window - plain", "<=", 0.02, proposed=True),)
    minutes = 4
    explain = (
        "The paper has its windows in the lower half of the layers, too. The projections of the window are matched by "
        "wider feed-forwards in the lower layers of the plain model."
    )
    width: int = 64
    layers: int = 4
    tokens: int = 64
    steps: int = 400
    rate: float = 2e-3
    batch: int = 16

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        models = {"window": self.model(corpus.symbols, seed, mixer=WINDOW), "plain": self.plain(corpus.symbols, seed)}
        values: Measurements = {}
        for name, model in models.items():
            generator = torch.Generator().manual_seed(seed)

            def loss(model: Model = model, generator: torch.Generator = generator) -> Tensor:
                return score(model, corpus.draw(self.batch, self.tokens, generator)).loss

            values[f"losses, {name}"] = draw.means(fit(model, loss, self.steps, adam(model, self.rate)))
            values[f"validation loss, {name}"] = corpus.loss(model, self.tokens, most=20_000)
            values[f"parameters, {name}"] = size(model)
        values["validation loss, window - plain"] = values["validation loss, window"] - values["validation loss, plain"]
        return values

    def model(self, symbols: int, seed: int, **lower: Any) -> Model:
        """Returns a model whose lower half of layers has what `lower` says."""
        half = self.layers // 2
        layers = [{"times": half, **lower}, {"times": self.layers - half}]
        return decoder(symbols, seed, width=self.width, layers=layers)

    def plain(self, symbols: int, seed: int) -> Model:
        """Returns one without a window, and as large."""

        def built(hidden: int) -> Model:
            return self.model(symbols, seed, feedforward={"kind": "mlp", "hidden": hidden})

        target, least, more = size(self.model(symbols, seed, mixer=WINDOW)), size(built(1)), size(built(2))
        return built(1 + round((target - least) / (more - least)))

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Training", "xlabel": "update", "ylabel": "loss (nats per character, mean of 10)"},
            {"title": "Validation", "xlabel": "nats per character"},
        )
        draw.lines(axes[0], results, draw.UPDATES, {name: f"losses, {name}" for name in NAMES})
        draw.bars(axes[1], results, {name: f"validation loss, {name}" for name in NAMES}, ".3f")
        return figure
