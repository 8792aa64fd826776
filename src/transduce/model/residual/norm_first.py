"""Residuals whose stream is never normalised: the norm stands before the sublayer, and once at the end of the stack.

Tested in tests/model/test_residual.py.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from transduce.model.norms.norm import NormConfig
from transduce.model.residual.added import Added
from transduce.model.residual.residual import Function, Place, Residual, ResidualConfig, Stream
from transduce.model.state import State


class PreNorm(Residual):
    """x + added(f(norm(x)))."""

    def __init__(self, norm: nn.Module, added: Added) -> None:
        super().__init__()
        self.norm, self.added = norm, added

    def forward(self, stream: Stream, f: Function) -> tuple[Stream, State]:
        y, state = f(self.norm(stream))
        return stream + self.added(y), state


@dataclass(frozen=True, kw_only=True)
class PreNormConfig(ResidualConfig):
    """x + f(norm(x)), and one norm at the end; trains without warm-up.   Xiong et al. 2020, arXiv:2002.04745.

    final_norm: the one at the end; without it hidden states leave as they are.
    """

    kind: ClassVar[str] = "pre-norm"
    final_norm: bool = True

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return PreNorm(norm.build(width), self.added(width, place))

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        return norm.build(width) if self.final_norm else nn.Identity()


@dataclass(frozen=True, kw_only=True)
class ParallelConfig(ResidualConfig):
    """x + f_1(norm(x)) + f_2(norm(x)) + ...: all sublayers of a block at once.   Wang & Komatsuzaki 2021, GPT-J.

    What is dropped is dropped of the sum.

    norms: "one" to a block, also in PaLM (Chowdhery et al. 2022, sec. 2), or one to "each" sublayer (GPT-NeoX, Black et
        al. 2022, arXiv:2204.06745, sec. 2.1).
    final_norm: one norm at the end; without it hidden states leave as they are.
    """

    kind: ClassVar[str] = "parallel"
    beside: ClassVar[bool] = True
    norms: Literal["one", "each"] = "one"
    final_norm: bool = True

    @property
    def norm_each(self) -> bool:
        return self.norms == "each"

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return PreNorm(nn.Identity() if self.norm_each else norm.build(width), self.added(width, place))

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        return norm.build(width) if self.final_norm else nn.Identity()


class Sandwich(Residual):
    """x + added(norm_after(f(norm(x))))."""

    def __init__(self, norm: nn.Module, norm_after: nn.Module, added: Added) -> None:
        super().__init__()
        self.norm, self.norm_after, self.added = norm, norm_after, added

    def forward(self, stream: Stream, f: Function) -> tuple[Stream, State]:
        y, state = f(self.norm(stream))
        return stream + self.added(self.norm_after(y)), state


@dataclass(frozen=True, kw_only=True)
class SandwichConfig(ResidualConfig):
    """x + norm'(f(norm(x))), and one norm at the end; also in Gemma 2.   Ding et al. 2021, arXiv:2105.13290."""

    kind: ClassVar[str] = "sandwich"

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        return Sandwich(norm.build(width), norm.build(width), self.added(width, place))

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        return norm.build(width)
