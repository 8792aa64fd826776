"""The head that tells replaced tokens from those of the text.

Tested in tests/model/test_heads.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.model.embed.embedding import Embedding
from transduce.model.feedforward.feedforward import ACTIVATIONS, Activation
from transduce.model.heads.head import Head, HeadConfig, accurate
from transduce.model.norms.norm import NormConfig
from transduce.model.roles import Roles


class DiscriminatorHead(Head):
    """See `DiscriminatorHeadConfig`."""

    roles: ClassVar[Roles] = {"out.weight": "writes"}

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        self.size, self.activation = 1, ACTIVATIONS[activation]
        self.dense, self.out = nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        return accurate(self.out(self.activation(self.dense(hidden))))


@dataclass(frozen=True, kw_only=True)
class DiscriminatorHeadConfig(HeadConfig):
    """w act(A h + a) + b, one logit per token: was it replaced?   Clark et al. 2020, arXiv:2003.10555, sec. 2.

    activation: of the layer before the logit.
    """

    kind: ClassVar[str] = "discriminator"
    activation: Activation = "gelu"

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        return DiscriminatorHead(width, self.activation)
