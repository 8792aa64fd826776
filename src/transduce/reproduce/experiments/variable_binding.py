"""A slow network binds values to names in the weights of a fast one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure

from transduce.model.layout import dense
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import (
    BARE,
    Score,
    Tagger,
    adam,
    decoder,
    graded,
    gradients,
    late,
    learn,
    norms,
    tagger,
    tags,
)
from transduce.reproduce.mark import Mark, Measurements

SQUASH = ("identity", "tanh", "sigmoid")


@dataclass(frozen=True, kw_only=True)
class VariableBinding(Experiment):
    """4 of 8 names are each bound to one of 4 values, then one of the names is asked for."""

    kind: ClassVar[str] = "variable-binding"
    claim = "A controller that writes fast weights learns to bind values to names, and its gradient reaches far back."
    source = "Schmidhuber 1992, Neural Computation 4(1):131-139"
    marks = (
        Mark("accuracy, identity", ">=", 0.95, proposed=True),
        Mark("gradient at lag 30 / at lag 1, identity", ">=", 0.1, proposed=True),
    )
    minutes = 3
    explain = (
        "One token carries a name and its value; the network has to find out that it does. The squashing function acts "
        "on every fast weight at every step: a sigmoid fills the matrix up, and the gradient through it fades."
    )
    names: int = 8
    values: int = 4
    bound: int = 4
    width: int = 64
    steps: int = 1500
    rate: float = 3e-3
    batch: int = 64
    lags: int = 40

    def run(self, seed: int) -> Measurements:
        return {key: value for squash in SQUASH for key, value in self.trained(squash, seed).items()}

    def trained(self, squash: str, seed: int) -> Measurements:
        generator, mixer = torch.Generator().manual_seed(seed), {"kind": "fast-weights", "squash": squash}
        symbols = self.names * self.values + self.names  # a name with its value, or a name that is asked for
        model = tagger(symbols, self.values, seed, causal=True, mixer=mixer, width=self.width, layers=1, **BARE)
        right = learn(model, lambda: self.asked(model, generator), self.steps, adam(model, self.rate)).accuracies
        back = self.by_lag(mixer, seed)
        return {
            f"accuracies, {squash}": draw.means(right),
            f"accuracy, {squash}": late(right),
            f"gradients, {squash}": back,
            f"gradient at lag 30 / at lag 1, {squash}": back[min(30, self.lags - 1)] / back[1],
        }

    def asked(self, model: Tagger, generator: torch.Generator) -> Score:
        """Measures whether the model knows the values that were bound to the names it is asked for."""
        names = torch.rand(self.batch, self.names, generator=generator).argsort(1)[:, : self.bound]
        values = torch.randint(self.values, names.shape, generator=generator)
        at = torch.randint(self.bound, (self.batch, 1), generator=generator)
        question = self.names * self.values + names.gather(1, at)
        logits = tags(model, torch.cat([names * self.values + values, question], 1))[:, -1]
        return graded(logits, values.gather(1, at)[:, 0])

    def by_lag(self, mixer: dict[str, Any], seed: int) -> list[float]:
        """Returns the norm of the gradient of the last output with respect to each input, by lag, before training."""
        model = decoder(2, seed, width=self.width, layers=1, mixer=mixer, **BARE)
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(self.batch, self.lags, self.width, generator=generator).requires_grad_()
        y, _ = model.stacks()[0](x, dense(self.batch, self.lags))
        [gradient] = gradients((y[:, -1] @ torch.randn(self.width, generator=generator)).sum(), x)
        return norms(gradient.transpose(0, 1).flip(0))  # over all rows

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": f"Binding {self.bound} of {self.names} names", "xlabel": "update",
             "ylabel": "accuracy (mean of 10 batches)", "ylim": (0, 1.03)},
            {"title": "Before training", "xlabel": "tokens back", "ylabel": "norm of the gradient", "yscale": "log"},
        )  # fmt: skip
        draw.lines(axes[0], results, draw.UPDATES, {f"squash: {name}": f"accuracies, {name}" for name in SQUASH})
        draw.level(axes[0], 1 / self.values, "chance")
        draw.lines(axes[1], results, range(self.lags), {f"squash: {name}": f"gradients, {name}" for name in SQUASH})
        return figure
