"""Start values that know how many inputs a unit has.

Tested in tests/model/test_init.py.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from transduce.model.init.init import (
    COMMON,
    NORMS,
    InitConfig,
    Initialiser,
    Rules,
    Sizes,
    normal,
    tables,
    uniform,
)


def inputs(w: Tensor) -> int:
    """Returns the inputs of one unit of w: (out, in, ...)."""
    return math.prod(w.shape[1:])


def by_inputs(gain: float) -> Initialiser:
    """N(0, gain^2 / in)."""
    return lambda w, g: nn.init.normal_(w, std=gain / math.sqrt(inputs(w)), generator=g)


def bounded_by_inputs(w: Tensor, g: torch.Generator) -> None:
    """U(-1/sqrt(in), 1/sqrt(in))."""
    uniform(inputs(w) ** -0.5)(w, g)


@dataclass(frozen=True, kw_only=True)
class KaimingInit(InitConfig):
    """Matrices N(0, 2 / in), which keeps the variance through ReLUs.   He et al. 2015, arXiv:1502.01852, eq. 10.

    Tables as in `xavier`.
    """

    kind: ClassVar[str] = "kaiming"

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        return {**COMMON, **tables(sizes.width**-0.5), "matrix": by_inputs(math.sqrt(2))}


@dataclass(frozen=True, kw_only=True)
class LecunInit(InitConfig):
    """Matrices N(0, 1 / in), which keeps the variance through what is linear.   LeCun et al. 1998, Efficient BackProp.

    Tables as in `xavier`.
    """

    kind: ClassVar[str] = "lecun"

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        return {**COMMON, **tables(sizes.width**-0.5), "matrix": by_inputs(1.0)}


@dataclass(frozen=True, kw_only=True)
class TorchInit(InitConfig):
    """The start values of torch.nn: matrices and biases U(-1/sqrt(in), 1/sqrt(in)), tables N(0, 1).

    Recurrent networks: all weights U(-1/sqrt(hidden units), 1/sqrt(hidden units)). A head of its own is a matrix.
    """

    kind: ClassVar[str] = "torch"

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        return {**NORMS, "table": normal(1.0), "matrix": bounded_by_inputs}

    def named(self, model: nn.Module) -> dict[str, Initialiser]:
        """Returns start values by name: a bias and the neighbours of `hidden` start like the weights beside them."""
        starts = dict[str, Initialiser]()
        for name, module in cast(Iterable[tuple[str, nn.Module]], model.named_modules()):
            prefix, weight = f"{name}." if name else "", getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim > 1 and isinstance(getattr(module, "bias", None), Tensor):
                starts.setdefault(f"{prefix}bias", uniform(inputs(weight) ** -0.5))
            hidden = getattr(module, "hidden", None)
            if isinstance(hidden, nn.Linear):
                bound = uniform(hidden.in_features**-0.5)
                starts |= {f"{prefix}{part}.{p}": bound for part in ("hidden", "input") for p in ("weight", "bias")}
        return starts
