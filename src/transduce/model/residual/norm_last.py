"""Residuals that normalise the stream itself, after the sublayer was added."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from transduce.model.norms.norm import NormConfig
from transduce.model.ops.dropout import dropout
from transduce.model.residual.residual import Function, Place, Residual, ResidualConfig, Stream
from transduce.model.state import State


class PostNorm(Residual):
    """norm(x + dropout(f(x)))."""

    def __init__(self, norm: nn.Module, p: float) -> None:
        super().__init__()
        self.norm, self.p = norm, p

    def forward(self, stream: Stream, f: Function) -> tuple[Stream, State]:
        y, state = f(stream)
        return self.norm(stream + dropout(y, self.p, self.training)), state


@dataclass(frozen=True, kw_only=True)
class PostNormConfig(ResidualConfig):
    """norm(x + f(x)): the original placement; needs warm-up.   Vaswani et al. 2017, sec. 5.4."""

    kind: ClassVar[str] = "post-norm"

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return PostNorm(norm.build(width), self.dropout)
