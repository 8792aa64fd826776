"""How a sublayer joins the stream: where the norm stands, and the dropout of what is added.

The residual takes the sublayer as a function, so norm placement is independent of what is inside. `enter` makes the
stream of the embedded tokens, `leave` makes hidden states of the stream; both belong to a stack.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.config import Part
from transduce.errors import require_probability
from transduce.model.norms import NormConfig
from transduce.model.ops.dropout import dropout
from transduce.model.state import State

Function = Callable[[Tensor], tuple[Tensor, State]]


class Residual(nn.Module, ABC):
    """stream, f -> stream, state, where f: (B, T, M) -> (B, T, M), state is a sublayer."""

    @abstractmethod
    def forward(self, stream: Tensor, f: Function) -> tuple[Tensor, State]: ...


@dataclass(frozen=True, kw_only=True)
class ResidualConfig(Part):
    """Norm placement. `dropout`: probability of dropping each feature of what a sublayer adds."""

    folder: ClassVar[str] = "transduce.model.residual"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_probability(dropout=self.dropout)

    def build(self, width: int, norm: NormConfig) -> Residual:
        """The residual of one sublayer."""
        raise AssertionError("a kind of ResidualConfig defines build")

    def enter(self, width: int, norm: NormConfig) -> nn.Module:
        """(B, T, M) embedded tokens -> stream."""
        return nn.Identity()

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        """Stream -> (B, T, M) hidden states."""
        return nn.Identity()


class PostNorm(Residual):
    """norm(x + dropout(f(x))).   Vaswani et al. 2017, sec. 5.4."""

    def __init__(self, norm: nn.Module, p: float) -> None:
        super().__init__()
        self.norm, self.p = norm, p

    def forward(self, stream: Tensor, f: Function) -> tuple[Tensor, State]:
        y, state = f(stream)
        return self.norm(stream + dropout(y, self.p, self.training)), state


class PreNorm(Residual):
    """x + dropout(f(norm(x))).   Xiong et al. 2020, arXiv:2002.04745."""

    def __init__(self, norm: nn.Module, p: float) -> None:
        super().__init__()
        self.norm, self.p = norm, p

    def forward(self, stream: Tensor, f: Function) -> tuple[Tensor, State]:
        y, state = f(self.norm(stream))
        return stream + dropout(y, self.p, self.training), state


@dataclass(frozen=True, kw_only=True)
class PostNormConfig(ResidualConfig):
    """norm(x + f(x)): the original placement; needs warm-up."""

    kind: ClassVar[str] = "post-norm"

    def build(self, width: int, norm: NormConfig) -> Residual:
        return PostNorm(norm.build(width), self.dropout)


@dataclass(frozen=True, kw_only=True)
class PreNormConfig(ResidualConfig):
    """x + f(norm(x)), and one norm at the end of the stack: trains without warm-up."""

    kind: ClassVar[str] = "pre-norm"

    def build(self, width: int, norm: NormConfig) -> Residual:
        return PreNorm(norm.build(width), self.dropout)

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        return norm.build(width)
