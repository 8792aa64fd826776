"""Start values that are the same whatever the size of a matrix.

Tested in tests/model/test_init.py.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.init.init import (
    COMMON,
    NORMS,
    InitConfig,
    Initialiser,
    Rules,
    Sizes,
    constant,
    normal,
    orthogonal,
    tables,
    times,
    uniform,
)


def require_positive(**values: float) -> None:
    """Raises UserError unless every value is above 0, and finite."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise UserError(f"{name}={value} must be a positive number, such as 0.02")


def truncated(std: float) -> Initialiser:
    """Returns a normal that is drawn again where it is beyond two standard deviations."""

    def draw(w: Tensor, g: torch.Generator) -> None:
        nn.init.trunc_normal_(w, std=std, a=-2 * std, b=2 * std, generator=g)

    return draw


@dataclass(frozen=True, kw_only=True)
class UniformInit(InitConfig):
    """All U(-bound, bound), biases too.   Sutskever, Vinyals & Le 2014, arXiv:1409.3215, sec. 3.4.

    bound: of all values, on either side of 0.
    """

    kind: ClassVar[str] = "uniform"
    bound: float = 0.08

    def __post_init__(self) -> None:
        require_positive(bound=self.bound)

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        draw = uniform(self.bound)
        return {**NORMS, "bias": draw, "matrix": draw}


@dataclass(frozen=True, kw_only=True)
class TruncatedNormalInit(InitConfig):
    """All N(0, std^2), cut at two standard deviations; biases 0.   Devlin et al. 2018, arXiv:1810.04805, its code.

    Cut, their standard deviation is 0.88 std.

    std: standard deviation of the normal distribution before it is cut.
    """

    kind: ClassVar[str] = "truncated-normal"
    std: float = 0.02

    def __post_init__(self) -> None:
        require_positive(std=self.std)

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        return {**COMMON, "matrix": truncated(self.std)}


@dataclass(frozen=True, kw_only=True)
class OrthogonalInit(InitConfig):
    """Matrices orthogonal times gain, square block by square block.   Saxe et al. 2014, arXiv:1312.6120.

    Tables as in `xavier`.

    gain: 1 keeps lengths through what is linear, sqrt(2) through ReLUs.
    """

    kind: ClassVar[str] = "orthogonal"
    gain: float = 1.0

    def __post_init__(self) -> None:
        require_positive(gain=self.gain)

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        return {**COMMON, **tables(sizes.width**-0.5), "matrix": times(self.gain, orthogonal)}


@dataclass(frozen=True, kw_only=True)
class GaussianInit(InitConfig):
    """All N(0, std^2), recurrent matrices orthogonal, biases 0.   Bahdanau et al. 2014, arXiv:1409.0473, app. B.1.

    Additive attention, e = v^T tanh(W q + U k), begins with v = 0 and with W and U, which are the
    `q` and `k` beside a `score`, N(0, 0.001^2).

    std: standard deviation of all values that are not recurrent.
    """

    kind: ClassVar[str] = "gaussian"
    std: float = 0.01

    def __post_init__(self) -> None:
        require_positive(std=self.std)

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        return {**COMMON, "score": constant(0.0), "matrix": normal(self.std)}

    def named(self, model: nn.Module) -> dict[str, Initialiser]:
        modules = cast(Iterable[tuple[str, nn.Module]], model.named_modules())
        asking = [name for name, module in modules if isinstance(getattr(module, "score", None), nn.Linear)]
        return {f"{name}.{part}.weight": normal(0.001) for name in asking for part in ("q", "k")}
