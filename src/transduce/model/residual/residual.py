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
from transduce.model.residual.added import Added
from transduce.model.state import State

Function = Callable[[Tensor], tuple[Tensor, State]]
Stream = Any  # (B, T, M), or a tuple of such


class Place(NamedTuple):
    """The layer and the stack of a block: what differs with depth is decided when the stack is built."""

    layer: int = 0  # from 0
    layers: int = 1  # of this stack
    role: Literal["encoder", "decoder"] = "decoder"
    other: int = 0  # layers of the other stack; 0: there is none


class Residual(nn.Module, ABC):
    """stream, f -> stream, state, where f: (B, T, M) -> (B, T, M), state is a sublayer.

    conditioned: a condition (B, M) comes third.
    """

    conditioned: ClassVar[bool] = False

    @abstractmethod
    def forward(self, stream: Stream, f: Function) -> tuple[Stream, State]: ...


@dataclass(frozen=True, kw_only=True)
class ResidualConfig(Part):
    """Norm placement, and what all of them have.

    A class says of how many tensors its stream is made (`streams`; residuals of one stack must agree), and whether the
    sublayers of a block stand side by side on one input instead of one behind the other (`beside`), and whether it
    needs a condition (`conditioned`).

    dropout: probability of dropping each feature of what a sublayer adds.
    drop_path: probability of dropping all that a sublayer of the last layer adds to a row; p l / L in layer l
        (stochastic depth, Huang et al. 2016, arXiv:1603.09382, sec. 3). A packed row is one row.
    layer_scale: start value of a learned gain for each feature of what is added (Touvron et al. 2021, arXiv:2103.17239,
        eq. 3, which start it at 0.1 to 1e-6) (None: it has no gain).
    """

    folder: ClassVar[str] = "transduce.model.residual"
    streams: ClassVar[int] = 1
    beside: ClassVar[bool] = False
    conditioned: ClassVar[bool] = False
    dropout: float = 0.1
    drop_path: float = 0.0
    layer_scale: float | None = None

    def __post_init__(self) -> None:
        require_probability(dropout=self.dropout, drop_path=self.drop_path)

    @property
    def norm_each(self) -> bool:
        return False

    def added(self, width: int, place: Place) -> Added:
        """Returns what changes the output of a sublayer of the block at `place` before it joins the stream."""
        return Added(width, self.dropout, self.drop_path * (place.layer + 1) / place.layers, self.layer_scale)

    def build(self, width: int, norm: NormConfig, place: Place = Place()) -> Residual:  # noqa: B008
        """Returns the residual of one sublayer of the block at `place`."""
        raise AssertionError("a kind of ResidualConfig defines build")

    def enter(self, width: int, norm: NormConfig) -> nn.Module:
        """Returns a module (B, T, M) embedded tokens -> stream."""
        return nn.Identity()

    def leave(self, width: int, norm: NormConfig) -> nn.Module:
        """Returns a module stream -> (B, T, M) hidden states."""
        return nn.Identity()
