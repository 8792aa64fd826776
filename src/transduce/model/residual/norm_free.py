"""Residuals without a norm, in the stream or before a sublayer.

Tested in tests/model/test_residual.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from transduce.errors import UserError
from transduce.model.init.init import Initialiser, constant
from transduce.model.norms.norm import NormConfig
from transduce.model.residual.added import Added
from transduce.model.residual.residual import Function, Place, Residual, ResidualConfig, Stream
from transduce.model.roles import Roles
from transduce.model.state import State


class Plain(Residual):
    """added(f(x)), with x before it or not."""

    def __init__(self, added: Added, keep: bool) -> None:
        super().__init__()
        self.added, self.keep = added, keep

    def forward(self, stream: Stream, f: Function) -> tuple[Stream, State]:
        y, state = f(stream)
        return stream + self.added(y) if self.keep else self.added(y), state


@dataclass(frozen=True, kw_only=True)
class NoResidualConfig(ResidualConfig):
    """f(x): layers one behind the other, as in the recurrent networks before 2015."""

    kind: ClassVar[str] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.drop_path:
            raise UserError(
                f"drop_path={self.drop_path} leaves nothing of a row where nothing else carries it; use residual=add, "
                "or leave it out"
            )

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return Plain(self.added(width, place), keep=False)


@dataclass(frozen=True, kw_only=True)
class AddConfig(ResidualConfig):
    """x + f(x), without a norm; with init=t-fixup it trains deep.   He et al. 2015, arXiv:1512.03385, eq. 1."""

    kind: ClassVar[str] = "add"

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return Plain(self.added(width, place), keep=True)


class ReZero(Residual):
    """x + a added(f(x)), where a starts at 0."""

    def __init__(self, added: Added) -> None:
        super().__init__()
        self.added, self.a = added, nn.Parameter(torch.empty(()))

    def start(self) -> dict[str, Initialiser]:
        return {"a": constant(0.0)}

    def forward(self, stream: Stream, f: Function) -> tuple[Stream, State]:
        y, state = f(stream)
        return stream + self.a * self.added(y), state


@dataclass(frozen=True, kw_only=True)
class ReZeroConfig(ResidualConfig):
    """x + a f(x), a = 0 at the start: a stack begins as the identity.   Bachlechner et al. 2020, arXiv:2003.04887."""

    kind: ClassVar[str] = "rezero"

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return ReZero(self.added(width, place))


class Highway(Residual):
    """t added(f(x)) + (1 - t) x, t = sigmoid(W x + b)."""

    roles: ClassVar[Roles] = {"gate.weight": "adds"}

    def __init__(self, width: int, added: Added, bias: float) -> None:
        super().__init__()
        self.gate, self.added, self.bias = nn.Linear(width, width), added, bias

    def start(self) -> dict[str, Initialiser]:
        return {"gate.bias": constant(self.bias)}

    def forward(self, stream: Stream, f: Function) -> tuple[Stream, State]:
        y, state = f(stream)
        return stream + self.gate(stream).sigmoid() * (self.added(y) - stream), state


@dataclass(frozen=True, kw_only=True)
class HighwayConfig(ResidualConfig):
    """t f(x) + (1 - t) x, t = sigmoid(W x + b).   Srivastava, Greff & Schmidhuber 2015, arXiv:1505.00387, eq. 3.

    bias: start value of b; the more negative, the more is carried past the sublayer.
    """

    kind: ClassVar[str] = "highway"
    bias: float = -2.0

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return Highway(width, self.added(width, place), self.bias)
