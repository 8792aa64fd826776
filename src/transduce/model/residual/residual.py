"""The contract of residuals: how a sublayer joins the stream.

The residual takes the sublayer as a function, so norm placement is independent of what is inside. `enter` makes the
stream of the embedded tokens, `leave` makes hidden states of the stream; both belong to a stack.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from torch import Tensor, nn

from transduce.config import Part
from transduce.errors import require_probability
from transduce.model.norms.norm import NormConfig
from transduce.model.state import State

Function = Callable[[Tensor], tuple[Tensor, State]]
Stream = Any  # (B, T, M), or a tuple of such


class Place(NamedTuple):
    """Which layer of which stack a block is: what differs with depth is decided when the stack is built."""

    layer: int = 0  # from 0
    layers: int = 1  # of this stack
    role: Literal["encoder", "decoder"] = "decoder"
    other: int = 0  # layers of the other stack; 0: there is none


class Residual(nn.Module, ABC):
    """stream, f -> stream, state, where f: (B, T, M) -> (B, T, M), state is a sublayer."""

    @abstractmethod
    def forward(self, stream: Stream, f: Function) -> tuple[Stream, State]: ...


@dataclass(frozen=True, kw_only=True)
class ResidualConfig(Part):
    """Norm placement. `dropout`: probability of dropping each feature of what a sublayer adds.

    streams: how many tensors the stream is made of; residuals of one stack must agree. beside: the sublayers of a
    block stand side by side on one input instead of one behind the other.
    """

    folder: ClassVar[str] = "transduce.model.residual"
    streams: ClassVar[int] = 1
    beside: ClassVar[bool] = False
    dropout: float = 0.1

    def __post_init__(self) -> None:
        require_probability(dropout=self.dropout)

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        """The residual of one sublayer of the block at `place`."""
        raise AssertionError("a kind of ResidualConfig defines build")

    def enter(self, width: int, norm: NormConfig) -> nn.Module:
        """(B, T, M) embedded tokens -> stream."""
        return nn.Identity()

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        """Stream -> (B, T, M) hidden states."""
        return nn.Identity()
