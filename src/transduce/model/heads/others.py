"""Heads that predict no token."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.embed.embedding import Embedding
from transduce.model.feedforward.feedforward import ACTIVATIONS, Activation
from transduce.model.heads.head import Head, HeadConfig, accurate
from transduce.model.norms.norm import NormConfig


class DiscriminatorHead(Head):
    """See `DiscriminatorHeadConfig`."""

    vocab_size, predicts_tokens = 1, False

    def __init__(self, width: int, activation: Activation) -> None:
        super().__init__()
        self.dense, self.out, self.activation = nn.Linear(width, width), nn.Linear(width, 1), ACTIVATIONS[activation]

    def forward(self, hidden: Tensor) -> Tensor:
        return accurate(self.out(self.activation(self.dense(hidden))))


@dataclass(frozen=True, kw_only=True)
class DiscriminatorHeadConfig(HeadConfig):
    """w act(A h + a) + b, one logit per token: was it replaced?   Clark et al. 2020, arXiv:2003.10555, sec. 2."""

    kind: ClassVar[str] = "discriminator"
    activation: Activation = "gelu"

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        return DiscriminatorHead(width, self.activation)


REASON = "this model has no head, so it gives hidden states and no logits; use model.head=linear"


class NoHead(Head):
    """No logits."""

    vocab_size, predicts_tokens = 0, False

    def forward(self, hidden: Tensor) -> Tensor:
        raise UserError(REASON)

    def loss(self, hidden: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        raise UserError(REASON)


@dataclass(frozen=True, kw_only=True)
class NoHeadConfig(HeadConfig):
    """None: hidden states are all that is wanted."""

    kind: ClassVar[str] = "none"

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        return NoHead()


class ProjectionHead(Head):
    """See `ProjectionHeadConfig`."""

    predicts_tokens = False

    def __init__(self, width: int, config: "ProjectionHeadConfig") -> None:
        super().__init__()
        self.vocab_size, self.out = config.size, nn.Linear(width, config.size, bias=config.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return accurate(self.out(hidden))


@dataclass(frozen=True, kw_only=True)
class ProjectionHeadConfig(HeadConfig):
    """W h: `size` features of each token, the mean of which stands for a sentence (GTR, Ni et al. 2021,
    arXiv:2112.07899, sec. 3.1)."""

    kind: ClassVar[str] = "projection"
    size: int = 768
    bias: bool = False

    def __post_init__(self) -> None:
        require_at_least(1, size=self.size)

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        return ProjectionHead(width, self)
