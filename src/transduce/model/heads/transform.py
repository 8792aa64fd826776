"""The head of masked language models.

Tested in tests/model/test_heads.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import require_at_least
from transduce.model.embed.embedding import Embedding
from transduce.model.feedforward.feedforward import ACTIVATIONS, Activation
from transduce.model.heads.head import Head, HeadConfig, TokenHead, accurate, table_of
from transduce.model.norms.norm import NormConfig
from transduce.model.roles import Roles


class TransformHead(TokenHead):
    """See `TransformHeadConfig`. weight: (V, E)."""

    roles: ClassVar[Roles] = {"weight": "head"}

    def __init__(self, config: "TransformHeadConfig", weight: nn.Parameter, width: int, norm: NormConfig) -> None:
        super().__init__()
        self.size, size = weight.shape
        self.weight, self.bias = weight, nn.Parameter(torch.empty(self.size)) if config.bias else None
        self.dense, self.norm = nn.Linear(width, size), norm.build(size)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, hidden: Tensor) -> Tensor:
        return accurate(F.linear(self.norm(self.activation(self.dense(hidden))), self.weight, self.bias))


@dataclass(frozen=True, kw_only=True)
class TransformHeadConfig(HeadConfig):
    """W norm(act(A h + a)) + b: a linear map and a norm before the table.   Devlin et al. 2018, arXiv:1810.04805.

    A leads to as many features as the table has.

    activation: of the linear map.
    bias: whether there is b.
    size: features of a table of its own (None: the width).
    """

    kind: ClassVar[str] = "transform"
    activation: Activation = "gelu"
    bias: bool = True
    size: int | None = None

    def __post_init__(self) -> None:
        require_at_least(1, size=self.size)

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        own = nn.Parameter(torch.empty(vocab_size, self.size or width)) if tied is None else table_of(tied, self.kind)
        return TransformHead(self, own, width, norm)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(), cls(activation="relu", bias=False, size=5)]
