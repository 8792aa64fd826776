"""Residuals that normalise the stream itself, after the sublayer was added.

Tested in tests/model/test_residual.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from transduce.errors import UserError
from transduce.model.init.depth import deep_norm
from transduce.model.norms.norm import NormConfig
from transduce.model.residual.added import Added
from transduce.model.residual.residual import Function, Place, Residual, ResidualConfig, Stream
from transduce.model.state import State


class PostNorm(Residual):
    """norm(alpha x + added(f(x)))."""

    def __init__(self, norm: nn.Module, added: Added, alpha: float = 1.0) -> None:
        super().__init__()
        self.norm, self.added, self.alpha = norm, added, alpha

    def forward(self, stream: Stream, f: Function) -> tuple[Stream, State]:
        y, state = f(stream)
        scaled = stream if self.alpha == 1.0 else self.alpha * stream
        return self.norm(scaled + self.added(y)), state


@dataclass(frozen=True, kw_only=True)
class PostNormConfig(ResidualConfig):
    """norm(x + f(x)): the original placement; needs warm-up.   Vaswani et al. 2017, sec. 5.4."""

    kind: ClassVar[str] = "post-norm"

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return PostNorm(norm.build(width), self.added(width, place))


@dataclass(frozen=True, kw_only=True)
class DeepNormConfig(ResidualConfig):
    """norm(alpha x + f(x)), for hundreds of layers; with init=deep-norm.   Wang et al. 2022, arXiv:2203.00555.

    alpha: of x (None: that of the paper's table, which grows with the depth of the model).
    final_norm: one more norm at the end of a stack (GLM-130B, Zeng et al. 2022, arXiv:2210.02414).
    """

    kind: ClassVar[str] = "deep-norm"
    alpha: float | None = None
    final_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha is not None and self.alpha <= 0:
            raise UserError(f"alpha={self.alpha} does not keep the stream; use 1 or more, or leave it out")

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        table = deep_norm(place.layers, place.other, encoder=place.role == "encoder").alpha
        return PostNorm(norm.build(width), self.added(width, place), self.alpha or table)

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        return norm.build(width) if self.final_norm else nn.Identity()
