"""Feed-forward with a multiplicative gate.

Tested in tests/model/test_feedforward.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.errors import require_at_least, require_probability
from transduce.model.feedforward.feedforward import ACTIVATIONS, Activation, FeedForwardConfig
from transduce.model.ops.dropout import dropout
from transduce.model.ops.rows import by_number
from transduce.model.roles import Roles


class Gated(nn.Module):
    """down(act(gate x) * up x).   Shazeer 2020, arXiv:2002.05202, eq. 6."""

    roles: ClassVar[Roles] = {"gate.weight": "adds", "up.weight": "adds", "down.weight": "writes"}
    same_input: ClassVar[tuple[str, ...]] = ("gate", "up")
    tp_plan: ClassVar[dict[str, str]] = {"gate": "columns", "up": "columns", "down": "rows"}

    def __init__(self, width: int, hidden: int, activation: Activation, bias: bool, p: float) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden, bias=bias), nn.Linear(width, hidden, bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)
        self.activation, self.p = ACTIVATIONS[activation], p

    def forward(self, x: Tensor) -> Tensor:
        return self.down(dropout(by_number(self.activation, self.gate(x)) * self.up(x), self.p, self.training))


@dataclass(frozen=True, kw_only=True)
class GatedConfig(FeedForwardConfig):
    """down(act(gate x) * up x).   Shazeer 2020, arXiv:2002.05202, eq. 6.

    SwiGLU with silu, GEGLU with gelu, GLU with sigmoid.

    hidden: features between (None: 8/3 of the width, up to a multiple of 8: the cost of an MLP of 4 widths).
    activation: of the gate.
    bias: whether the maps have one.
    dropout: of the features between.
    """

    kind: ClassVar[str] = "gated"
    hidden: int | None = None
    activation: Activation = "silu"
    bias: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, hidden=self.hidden)
        require_probability(dropout=self.dropout)

    def build(self, width: int) -> nn.Module:
        hidden = self.hidden or -(-8 * width // 24) * 8
        return Gated(width, hidden, self.activation, self.bias, self.dropout)
