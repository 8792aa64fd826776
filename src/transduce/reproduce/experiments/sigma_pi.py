"""Units that multiply their inputs compute what no unit that only adds them can."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.mark import Mark, Measurements


def products(x: Tensor, order: int) -> Tensor:
    """Returns all products of up to `order` different features, and 1: (N, n) -> (N, sum of n choose k)."""
    subsets = [s for k in range(order + 1) for s in combinations(range(x.shape[1]), k)]
    return torch.stack([x[:, list(s)].prod(1) for s in subsets], 1)


@dataclass(frozen=True, kw_only=True)
class SigmaPi(Experiment):
    """net = sum_j w_j prod_{k in S_j} x_k, solved exactly by least squares, on parity."""

    kind: ClassVar[str] = "sigma-pi"
    claim = "Multiplicative units represent parity in one layer; additive units cannot."
    source = "Rumelhart, Hinton, McClelland 1986, Parallel Distributed Processing 1, chapter 2"
    marks = (
        Mark("parity of 3, sigma-pi", "=", 1),
        Mark("parity of 3, additive", "<=", 0.75),
        Mark("sum of products - bilinear map", "<=", 1e-6),
    )
    minutes = 0.1
    explain = (
        "Parity of n bits written as +1 and -1 is the one product of all of them, so units of order n - 1 still guess. "
        "A unit of order 2 over two vectors is a bilinear map: gates, attention scores and fast weights are such units."
    )
    most: int = 6

    def run(self, seed: int) -> Measurements:
        by_order = [parity(self.most, order) for order in range(1, self.most + 1)]
        generator = torch.Generator().manual_seed(seed)
        a, b, w = (torch.randn(shape, generator=generator) for shape in ((5, 3), (5, 4), (2, 3, 4)))
        bilinear = nn.Bilinear(3, 4, 2, bias=False)
        bilinear.weight = nn.Parameter(w)
        pairs = torch.stack([a[:, i] * b[:, j] for i in range(3) for j in range(4)], 1)  # the sigma-pi unit's products
        return {
            "parity of 3, sigma-pi": parity(3, 3),
            "parity of 3, additive": parity(3, 1),
            "accuracy by order": by_order,
            "sum of products - bilinear map": float((pairs @ w.flatten(1).T - bilinear(a, b).detach()).abs().max()),
        }

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": f"Parity of {self.most} bits", "xlabel": "greatest number of factors", "ylabel": "accuracy"}
        )
        draw.lines(axes[0], results, None, {"one layer, by least squares": "accuracy by order"}, "o")
        draw.level(axes[0], 0.5, "chance")
        return figure


def parity(bits: int, order: int) -> float:
    """Returns the best accuracy of one layer of products on all inputs; half a point where it cannot decide."""
    x = torch.tensor(list(product((-1.0, 1.0), repeat=bits)), dtype=torch.float64)
    y, features = x.prod(1), products(x, order)
    told = features @ (features.pinverse() @ y)
    right = torch.where(told.abs() < 1e-9, 0.5, (told.sign() == y).double())
    return float(right.mean())
