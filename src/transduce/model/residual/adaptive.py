"""A residual whose norm and gate follow from a condition, such as the time of a diffusion model.

Tested in tests/model/test_condition.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.model.init.init import Initialiser, constant
from transduce.model.norms.norm import NormConfig
from transduce.model.residual.added import Added
from transduce.model.residual.residual import Function, Place, Residual, ResidualConfig, Stream
from transduce.model.state import State

ZERO: dict[str, Initialiser] = {"modulate.weight": constant(0.0), "modulate.bias": constant(0.0)}


class Adaptive(Residual):
    """x + g added(f((1 + scale) norm(x) + shift)), [shift, scale, g] = W c + b.

    condition: c, (B, M).
    """

    conditioned = True

    def __init__(self, norm: nn.Module, added: Added, width: int) -> None:
        super().__init__()
        self.norm, self.added, self.modulate = norm, added, nn.Linear(width, 3 * width)

    def start(self) -> dict[str, Initialiser]:
        return ZERO

    def forward(self, stream: Stream, f: Function, condition: Tensor | None = None) -> tuple[Stream, State]:
        assert condition is not None, "a block hands the condition on"
        shift, scale, gate = self.modulate(condition)[:, None].chunk(3, -1)
        y, state = f(self.norm(stream) * (1 + scale) + shift)
        return stream + gate * self.added(y), state


class AdaptiveLeave(nn.Module):
    """(1 + scale) norm(x) + shift, [shift, scale] = W c + b."""

    conditioned = True

    def __init__(self, norm: nn.Module, width: int) -> None:
        super().__init__()
        self.norm, self.modulate = norm, nn.Linear(width, 2 * width)

    def start(self) -> dict[str, Initialiser]:
        return ZERO

    def forward(self, stream: Tensor, condition: Tensor) -> Tensor:
        shift, scale = self.modulate(condition)[:, None].chunk(2, -1)
        return self.norm(stream) * (1 + scale) + shift


@dataclass(frozen=True, kw_only=True)
class AdaptiveConfig(ResidualConfig):
    """x + g f((1 + scale) norm(x) + shift), g, scale and shift linear in a condition, at first 0: adaLN-Zero.

    Peebles & Xie 2022, arXiv:2212.09748, sec. 3.2. A stack begins as the identity. For model.kind=denoiser; the norm
    needs no gain of its own: model.norm.gain=false.
    """

    kind: ClassVar[str] = "adaptive"
    conditioned: ClassVar[bool] = True

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return Adaptive(norm.build(width), self.added(width, place), width)

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        return AdaptiveLeave(norm.build(width), width)
