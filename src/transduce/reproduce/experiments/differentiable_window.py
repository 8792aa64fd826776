"""Attention learns faster if it can learn how far around a token the answer depends on others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import Score, Tagger, adam, graded, late, learn, reached, size, tagger, tags
from transduce.reproduce.mark import Mark, Measurements

MIXERS: dict[str, dict[str, Any]] = {
    "additive window": {"kind": "differentiable-window", "use": "additive"},
    "multiplicative window": {"kind": "differentiable-window", "use": "multiplicative"},
    "attention": {"kind": "attention"},
}
SEGMENT = {"kind": "differentiable-window", "use": "additive", "segment": 5}
WINDOWS = ("additive window", "multiplicative window")


@dataclass(frozen=True, kw_only=True)
class DifferentiableWindow(Experiment):
    """Rows cut by separators into segments: every token is to name the greatest symbol of its segment."""

    kind: ClassVar[str] = "differentiable-window"
    claim = "A learned window lets attention learn a local task in fewer updates, with as many parameters."
    source = "Nguyen, Nguyen, Joty, Li 2020, arXiv:2006.13561"
    marks = (
        Mark("updates until 95%, additive window / attention", "<=", 0.8),
        Mark("updates until 95%, multiplicative window / attention", "<=", 1.0, proposed=True),
        Mark("updates until 95%, one layer, additive window / attention", "<=", 0.8, proposed=True),
        Mark("updates until 95%, one layer, multiplicative window / attention", "<=", 1.0, proposed=True),
    )
    minutes = 6
    explain = (
        "The feed-forward of each model is as wide as makes all of them equally large, separately for two layers and "
        "for one. Attention that has not learnt within the given updates counts as if it had at the last. Of an "
        "additive window whose borders are those of segments of 5 nothing is asked."
    )
    symbols: int = 12
    separators: float = 0.15
    tokens: int = 32
    width: int = 64
    layers: int = 2
    parameters: int = 120_000
    parameters_of_one: int = 70_000
    steps: int = 1500
    rate: float = 1e-3
    batch: int = 32

    def run(self, seed: int) -> Measurements:
        values = self.trained("additive window, segments", SEGMENT, self.layers, self.parameters, seed)
        for race, layers, parameters in (
            ("", self.layers, self.parameters),
            ("one layer, ", 1, self.parameters_of_one),
        ):
            for name, mixer in MIXERS.items():
                values |= self.trained(f"{race}{name}", mixer, layers, parameters, seed)
            for name in WINDOWS:
                updates, plain = (values[f"updates until 95%, {race}{n}"] for n in (name, "attention"))
                ratio = None if updates is None else updates / (plain or self.steps)  # attention had not learnt by then
                values[f"updates until 95%, {race}{name} / attention"] = ratio
        return values

    def trained(self, name: str, mixer: dict[str, Any], layers: int, parameters: int, seed: int) -> Measurements:
        generator, model = torch.Generator().manual_seed(seed), self.model(mixer, layers, parameters, seed)

        def ask() -> Score:
            ids, greatest = segments(self.batch, self.tokens, self.symbols, self.separators, generator)
            return graded(tags(model, ids), greatest)

        right = learn(model, ask, self.steps, adam(model, self.rate), enough=0.95, window=50, clip=1.0).accuracies
        return {
            f"accuracies, {name}": draw.means(right),
            f"accuracy, {name}": late(right),
            f"updates until 95%, {name}": reached(right, 0.95, 50),
            f"parameters, {name}": size(model),
        }

    def model(self, mixer: dict[str, Any], layers: int, parameters: int, seed: int) -> Tagger:
        """Returns an encoder with so many parameters."""

        def built(hidden: int) -> Tagger:
            return tagger(
                self.symbols + 1, self.symbols, seed, causal=False, mixer=mixer, width=self.width, layers=layers,
                feedforward={"kind": "mlp", "hidden": hidden},
            )  # fmt: skip

        least, more = size(built(1)), size(built(2))
        return built(max(1, 1 + round((parameters - least) / (more - least))))

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": f"The greatest symbol of one's segment, {self.layers} layers", "xlabel": "update",
             "ylabel": "accuracy (mean of 10 batches)"},
            {"title": "The same, one layer", "xlabel": "update"},
        )  # fmt: skip
        names = (*MIXERS, "additive window, segments")
        draw.lines(axes[0], results, draw.UPDATES, {name: f"accuracies, {name}" for name in names})
        draw.lines(axes[1], results, draw.UPDATES, {name: f"accuracies, one layer, {name}" for name in MIXERS})
        return figure


def segments(
    rows: int, tokens: int, symbols: int, separators: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draws symbols 0..symbols-1 and separators, and for each symbol the greatest of its segment, -1 at separators."""
    ids = torch.randint(symbols, (rows, tokens), generator=generator)
    cut = torch.rand(rows, tokens, generator=generator) < separators
    number = cut.cumsum(1)
    greatest = torch.full((rows, tokens + 1), -1).scatter_reduce(1, number, torch.where(cut, -1, ids), "amax")
    return torch.where(cut, symbols, ids), torch.where(cut, -1, greatest.gather(1, number))
