"""Residuals whose stream is never normalised: the norm stands before the sublayer."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from transduce.model.norms.norm import NormConfig
from transduce.model.ops.dropout import dropout
from transduce.model.residual.residual import Function, Place, Residual, ResidualConfig, Stream
from transduce.model.state import State


class PreNorm(Residual):
    """x + dropout(f(norm(x)))."""

    def __init__(self, norm: nn.Module, p: float) -> None:
        super().__init__()
        self.norm, self.p = norm, p

    def forward(self, stream: Stream, f: Function) -> tuple[Stream, State]:
        y, state = f(self.norm(stream))
        return stream + dropout(y, self.p, self.training), state


@dataclass(frozen=True, kw_only=True)
class PreNormConfig(ResidualConfig):
    """x + f(norm(x)), and one norm at the end; trains without warm-up.   Xiong et al. 2020, arXiv:2002.04745."""

    kind: ClassVar[str] = "pre-norm"

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return PreNorm(norm.build(width), self.dropout)

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        return norm.build(width)
