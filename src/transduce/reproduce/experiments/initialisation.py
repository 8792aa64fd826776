"""Fifty layers keep the scale of their input only if the start values fit the non-linearity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.model.init.init import Initialiser, normal, xavier
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.mark import Mark, Measurements


def scaled_xavier(w: Tensor, g: torch.Generator) -> None:
    """Xavier times 5/3, the gain with which tanh keeps a scale."""
    xavier(w, g)
    w *= 5 / 3


def he(w: Tensor, g: torch.Generator) -> None:
    """N(0, 2 / in): half of what relu is given is lost."""
    w.normal_(0, (2 / w.shape[1]) ** 0.5, generator=g)


SCHEMES: dict[str, tuple[Callable[[Tensor], Tensor], Initialiser]] = {
    "relu, He": (torch.relu, he),
    "tanh, Xavier times 5/3": (torch.tanh, scaled_xavier),
    "tanh, Xavier": (torch.tanh, xavier),
    "relu, Xavier": (torch.relu, xavier),
    "relu, N(0, 1)": (torch.relu, normal(1.0)),
    "relu, N(0, 0.001²)": (torch.relu, normal(0.001)),
    "tanh, N(0, 0.001²)": (torch.tanh, normal(0.001)),
}


@dataclass(frozen=True, kw_only=True)
class Initialisation(Experiment):
    """The root mean square of activations after each of 50 layers of random weights, in float64."""

    kind: ClassVar[str] = "initialisation"
    claim = "Start values that fit the non-linearity keep the scale of activations through fifty layers."
    source = "Glorot & Bengio 2010, AISTATS; He, Zhang, Ren, Sun 2015, arXiv:1502.01852"
    marks = (
        Mark("relu, He, least", ">=", 0.3, proposed=True),
        Mark("relu, He, greatest", "<=", 3, proposed=True),
        Mark("tanh, Xavier times 5/3, least", ">=", 0.3, proposed=True),
        Mark("tanh, Xavier times 5/3, greatest", "<=", 3, proposed=True),
        Mark("relu, N(0, 1), greatest", ">=", 1e3, proposed=True),
        Mark("relu, N(0, 0.001²), least", "<=", 1e-3, proposed=True),
        Mark("tanh, N(0, 0.001²), least", "<=", 1e-3, proposed=True),
        Mark("standard deviation of Xavier / its formula - 1", "<=", 0.02, proposed=True),
    )
    minutes = 0.1
    explain = (
        "Xavier without a gain fits a linear network: through tanh the scale shrinks as the inverse root of the depth, "
        "through relu by a factor of root two per layer."
    )
    width: int = 256
    rows: int = 128
    depth: int = 50

    def run(self, seed: int) -> Measurements:
        generator, found = torch.Generator().manual_seed(seed), Measurements()
        start = torch.randn(self.rows, self.width, generator=generator, dtype=torch.float64)
        for name, (activation, initialise) in SCHEMES.items():
            x, scales = start, list[float]()
            for _ in range(self.depth):
                w = torch.empty(self.width, self.width, dtype=torch.float64)
                initialise(w, generator)
                x = activation(x @ w.T)
                scales.append(float(x.square().mean().sqrt()))
            found |= {name: scales, f"{name}, least": min(scales), f"{name}, greatest": max(scales)}
        square = torch.empty(1000, 1000)
        xavier(square, generator)
        found["standard deviation of Xavier / its formula - 1"] = abs(float(square.std()) / (2 / 2000) ** 0.5 - 1)
        return found

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Activations through random layers", "xlabel": "layer", "ylabel": "root mean square",
             "yscale": "log", "ylim": (1e-6, 1e6)}
        )  # fmt: skip
        draw.lines(axes[0], results, None, {name: name for name in SCHEMES})
        return figure
