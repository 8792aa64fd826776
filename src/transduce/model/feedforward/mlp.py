"""Two linear maps with a non-linearity between.

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


class MLP(nn.Module):
    """down(dropout(act(up x))).   Vaswani et al. 2017, eq. 2."""

    roles: ClassVar[Roles] = {"up.weight": "adds", "down.weight": "writes"}
    tp_plan: ClassVar[dict[str, str]] = {"up": "columns", "down": "rows"}

    def __init__(self, width: int, hidden: int, activation: Activation, bias: bool, p: float) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden, bias=bias), nn.Linear(hidden, width, bias=bias)
        self.activation, self.p = ACTIVATIONS[activation], p

    def forward(self, x: Tensor) -> Tensor:
        return self.down(dropout(by_number(self.activation, self.up(x)), self.p, self.training))


@dataclass(frozen=True, kw_only=True)
class MLPConfig(FeedForwardConfig):
    """down(act(up x)).   Vaswani et al. 2017, arXiv:1706.03762, eq. 2.

    hidden: features between (None: four times the width).
    activation: of the features between.
    bias: whether the maps have one.
    dropout: of the features between.
    """

    kind: ClassVar[str] = "mlp"
    hidden: int | None = None
    activation: Activation = "relu"
    bias: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, hidden=self.hidden)
        require_probability(dropout=self.dropout)

    def build(self, width: int) -> nn.Module:
        return MLP(width, self.hidden or 4 * width, self.activation, self.bias, self.dropout)
