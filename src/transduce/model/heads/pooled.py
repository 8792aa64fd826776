"""The parts that heads of rows share: pooling, a hidden layer, an output.

Tested in tests/model/test_row_heads.py.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from transduce.errors import require_at_least, require_probability
from transduce.model.feedforward.feedforward import ACTIVATIONS, Activation
from transduce.model.heads.head import HeadConfig, PooledHead, accurate
from transduce.model.layout import Layout
from transduce.model.ops.dropout import dropout
from transduce.model.pool import pooled, require_pools


class RowHead(PooledHead):
    """See `RowHeadConfig`. dense: the hidden layer, or None. output: the last map, or None."""

    def __init__(self, config: "RowHeadConfig", width: int, outputs: int | None = None, p: float = 0.0) -> None:
        """Makes a head of `outputs` numbers (None: no last map), with dropout p of what it reads."""
        super().__init__()
        self.config, self.p, features = config, p, len(config.pool) * width
        hidden = width if config.hidden is True else int(config.hidden)
        self.dense = nn.Linear(features, hidden, bias=config.bias) if hidden else None
        self.output = None if outputs is None else nn.Linear(hidden or features, outputs, bias=config.bias)
        self.size = outputs or hidden or features
        self.activation = ACTIVATIONS[config.activation]

    def vector(self, hidden: Tensor, layout: Layout) -> Tensor:
        x = dropout(pooled(hidden, layout, self.config.pool), self.config.pool_dropout, self.training)
        return x if self.dense is None else self.activation(self.dense(x.to(self.dense.weight.dtype)))

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        x = self.vector(hidden, layout)
        if self.output is None:
            return accurate(x)
        x = dropout(x, self.p, self.training)
        return accurate(self.output(x.to(self.output.weight.dtype)))


@dataclass(frozen=True, kw_only=True)
class RowHeadConfig(HeadConfig):
    """The keys that heads of rows share.

    pool: how hidden states become one vector: first, last, mean, max, weighted, mean-sqrt, or several of them, joined.
    hidden: features of a dense layer act(A x + a) before the output (true: the width; false: no such layer).
    activation: of that layer.
    pool_dropout: of the pooled vector.
    bias: whether the maps have one.
    """

    pool: tuple[str, ...] = ("mean",)
    hidden: int | bool = False
    activation: Activation = "tanh"
    pool_dropout: float = 0.0
    bias: bool = True

    def __post_init__(self) -> None:
        require_pools(self.pool)
        require_at_least(0, hidden=int(self.hidden))
        require_probability(pool_dropout=self.pool_dropout)
