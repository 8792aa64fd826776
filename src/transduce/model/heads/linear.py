"""One linear map.

Tested in tests/model/test_heads.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig, TokenHead, accurate, table_of
from transduce.model.norms.norm import NormConfig
from transduce.model.ops.loss import cross_entropy
from transduce.model.ops.rows import linear
from transduce.model.roles import Roles


class LinearHead(TokenHead):
    """See `LinearHeadConfig`. weight: (V, E). project: from the width to E, where they differ."""

    roles: ClassVar[Roles] = {"weight": "head"}

    def __init__(self, config: "LinearHeadConfig", weight: nn.Parameter, width: int) -> None:
        super().__init__()
        self.size, self.weight = weight.shape[0], weight
        self.scale, self.softcap = config.scale, config.softcap
        self.bias = nn.Parameter(torch.empty(self.size)) if config.bias else None
        self.project = None if weight.shape[1] == width else nn.Linear(width, weight.shape[1], bias=False)

    @property
    def plain(self) -> bool:
        """Says whether it is W h + b and no more."""
        return self.project is None and self.scale == 1.0 and self.softcap is None

    def before(self, hidden: Tensor) -> Tensor:
        """Returns what meets the table: (..., M) -> (..., E)."""
        hidden = hidden if self.project is None else self.project(hidden)
        return hidden if self.scale == 1.0 else hidden * self.scale

    def forward(self, hidden: Tensor) -> Tensor:
        logits = accurate(linear(self.before(hidden), self.weight, self.bias))
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def loss(
        self, hidden: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if self.softcap is not None:
            return super().loss(hidden, targets, smoothing, weights)
        return cross_entropy(self.before(hidden), self.weight, targets, smoothing, weights, self.bias)


@dataclass(frozen=True, kw_only=True)
class LinearHeadConfig(HeadConfig):
    """scale W h + b. W is the embedding where they are tied.   Press & Wolf 2017, arXiv:1608.05859.

    Where the table has fewer features than the width, a map without bias stands before it.

    bias: whether there is b.
    scale: of h (T5: width^-1/2 where tied).
    softcap: logits l become softcap tanh(l / softcap), as in Gemma 2, arXiv:2408.00118 (None: they stay).
    """

    kind: ClassVar[str] = "linear"
    bias: bool = False
    scale: float = 1.0
    softcap: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("scale", self.scale), ("softcap", self.softcap)):
            if value is not None and value <= 0.0:
                raise UserError(f"{name}={value} must be above 0")

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        own = nn.Parameter(torch.empty(vocab_size, width)) if tied is None else table_of(tied, self.kind)
        return LinearHead(self, own, width)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(), cls(bias=True), cls(scale=0.3, softcap=2.0)]
