"""The contract of heads: hidden states to logits, and to a loss without holding all logits at once."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from transduce.config import Part
from transduce.errors import UserError
from transduce.model.embed.embedding import Embedding
from transduce.model.norms.norm import NormConfig

again = cast("Callable[..., tuple[Tensor, Tensor]]", checkpoint)
CHUNK = 1 << 21  # logits made at once


class Head(nn.Module, ABC):
    """(..., M) -> (..., V) float32 (float64 where the weights are).

    predicts_tokens: what comes out are logits of tokens.
    """

    vocab_size: int
    predicts_tokens: ClassVar[bool] = True

    @abstractmethod
    def forward(self, hidden: Tensor) -> Tensor: ...

    def loss(self, hidden: Tensor, targets: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Sum of the label-smoothed loss, and of -log p without gradient. hidden: (S, M), targets: (S,).

        Logits are made a chunk of rows at a time, and again in the backward pass.
        """
        total = hidden.float().sum() if not len(hidden) else hidden.new_zeros((), dtype=torch.float32)  # has a gradient
        nll = hidden.new_zeros((), dtype=torch.float32)
        size = max(1, CHUNK // self.vocab_size)
        for start in range(0, hidden.shape[0], size):
            rows, wanted = hidden[start : start + size], targets[start : start + size]
            losses = again(self._losses, rows, wanted, smoothing, use_reentrant=False)
            total, nll = total + losses[0], nll + losses[1]
        return total, nll.detach()

    def _losses(self, hidden: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        logits = self(hidden)
        nll = F.cross_entropy(logits, targets, reduction="sum")
        smoothed = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing) if smoothing else nll
        return smoothed, nll


@dataclass(frozen=True, kw_only=True)
class HeadConfig(Part):
    """Which head. `build` makes the module. tied: the embedding whose table it uses; None: it has its own."""

    folder: ClassVar[str] = "transduce.model.heads"

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        raise AssertionError("a kind of HeadConfig defines build")


def table_of(tied: Embedding, kind: str) -> nn.Parameter:
    """The (V, E) table of an embedding. Raises UserError if it has none."""
    weight = getattr(tied, "weight", None)
    if not isinstance(weight, nn.Parameter):
        raise UserError(f"head={kind} cannot be tied to an embedding without a table; set tie_embeddings to none")
    return weight


def accurate(logits: Tensor) -> Tensor:
    """Logits in float32, or float64 if that is what they are."""
    return logits if logits.dtype == torch.float64 else logits.float()
