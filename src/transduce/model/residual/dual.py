"""A residual of two streams.

Tested in tests/model/test_residual.py.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.norms.norm import NormConfig
from transduce.model.residual.added import Added
from transduce.model.residual.residual import Function, Place, Residual, ResidualConfig
from transduce.model.state import State

Pair = tuple[Tensor, Tensor]  # x: what the sublayers see, normalised; d: the sum of all that they gave, which is not


class Enter(nn.Module):
    """x -> (x, s x)."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Pair:
        return x, self.scale * x


class Dual(Residual):
    """u = added(f(x)): (x, d) -> (norm(x + u), d + s u)."""

    def __init__(self, norm: nn.Module, added: Added, scale: float) -> None:
        super().__init__()
        self.norm, self.added, self.scale = norm, added, scale

    def forward(self, stream: Pair, f: Function) -> tuple[Pair, State]:
        x, d = stream
        y, state = f(x)
        u = self.added(y)
        return (self.norm(x + u), d + self.scale * u), state


class Leave(nn.Module):
    """(x, d) -> alpha x + norm(d)."""

    def __init__(self, norm: nn.Module, alpha: float) -> None:
        super().__init__()
        self.norm, self.alpha = norm, alpha

    def forward(self, stream: Pair) -> Tensor:
        x, d = stream
        return self.alpha * x + self.norm(d)


@dataclass(frozen=True, kw_only=True)
class ResiDualConfig(ResidualConfig):
    """x <- norm(x + u), d <- d + s u, u = f(x); y = alpha x + norm(d).   Xie et al. 2023, arXiv:2304.14802.

    Through d gradients reach every layer, as with pre-norm; what layers see goes on changing, as with post-norm.

    alpha: of x in what leaves a stack.
    scale: s; below 1 it keeps d small in float16.
    eps: of the norm that leaves, where it has one; it is small because d may be.
    """

    kind: ClassVar[str] = "residual-dual"
    streams: ClassVar[int] = 2
    alpha: float = 1.0
    scale: float = 1.0
    eps: float = 1e-7

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scale", "eps"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name}={getattr(self, name)} must be a positive number; leave it out")

    def enter(self, width: int, norm: NormConfig) -> nn.Module:
        return Enter(self.scale)

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return Dual(norm.build(width), self.added(width, place), self.scale)

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        eps: dict[str, Any] = {"eps": self.eps} if hasattr(norm, "eps") else {}
        return Leave(replace(norm, **eps).build(width), self.alpha)
