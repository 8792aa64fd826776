"""The contract of heads: hidden states to predictions, of each token or of each row.

Tested in tests/model/test_heads.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from transduce.config import Part
from transduce.errors import UserError
from transduce.model.embed.embedding import Embedding
from transduce.model.layout import Layout
from transduce.model.norms.norm import NormConfig
from transduce.model.ops.loss import rows_at_once

again = cast("Callable[..., tuple[Tensor, ...]]", checkpoint)


class Head(nn.Module, ABC):
    """Hidden states (B, T, M) to predictions, in float32 (float64 where the weights are).

    size: numbers per prediction. per: what has a prediction, each token or each row.
    """

    size: int
    per: ClassVar[Literal["token", "row"]] = "token"


class TokenHead(Head):
    """Predicts tokens: (..., M) -> logits (..., V). `size` is V, the vocabulary."""

    @abstractmethod
    def forward(self, hidden: Tensor) -> Tensor: ...

    def loss(
        self, hidden: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns the sum of the label-smoothed loss, and that of -log p without gradient; both are weighted.

        hidden: (S, M). targets: (S,).
        weights: (S,), by which the loss of each target is multiplied, without gradient (None: 1).

        Logits are made a chunk of rows at a time, and again in the backward pass.
        """
        total = hidden.float().sum() if not len(hidden) else hidden.new_zeros((), dtype=torch.float32)  # has a gradient
        nll = hidden.new_zeros((), dtype=torch.float32)
        for part in chunks(len(hidden), self.size):
            w = None if weights is None else weights[part].detach()
            losses = again(self._losses, hidden[part], targets[part], smoothing, w, use_reentrant=False)
            total, nll = total + losses[0], nll + losses[1]
        return total, nll.detach()

    def log_p(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Returns log p(target) of each row, (S,) float32 with a gradient. hidden: (S, M). targets: (S,).

        Logits are made a chunk of rows at a time, and again in the backward pass.
        """
        return log_p(self, hidden, targets, self.size)

    def _losses(self, hidden: Tensor, targets: Tensor, smoothing: float, weights: Tensor | None) -> tuple[Tensor, ...]:
        logits = self(hidden)
        if weights is None:
            nll = F.cross_entropy(logits, targets, reduction="sum")
            options = {"reduction": "sum", "label_smoothing": smoothing}
            return F.cross_entropy(logits, targets, **options) if smoothing else nll, nll  # pyright: ignore[reportArgumentType]
        logs = logits.log_softmax(-1) * weights[:, None].to(logits.dtype)  # the sums above, to the bit where all are 1
        nll = F.nll_loss(logs, targets, reduction="sum")
        smoothed = (1 - smoothing) * nll + -logs.sum(1).sum() * (smoothing / self.size) if smoothing else nll
        return smoothed, nll


class PooledHead(Head):
    """Predicts something of each row: (B, T, M) and its layout -> (B, size). Padding anywhere changes nothing.

    Raises UserError for a row that holds several documents.
    """

    per = "row"

    @abstractmethod
    def forward(self, hidden: Tensor, layout: Layout) -> Tensor: ...

    @abstractmethod
    def vector(self, hidden: Tensor, layout: Layout) -> Tensor:
        """Returns the vector (B, N) of each row from which the prediction is made."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig(Part):
    """The choice of a head. `build` makes the module, or None for head=none."""

    folder: ClassVar[str] = "transduce.model.heads"
    helps: ClassVar[bool] = False  # a training, and no one else: it is left out of what is exported

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head | None:
        """Returns the module. tied: the embedding whose table it uses; None: it has its own."""
        raise AssertionError("a kind of HeadConfig defines build")

    @classmethod
    def examples(cls) -> "list[HeadConfig]":
        """Returns small configurations, for a width of 12 and 23 tokens, on which `testing.heads` runs every law."""
        return [cls()]


def chunks(rows: int, vocab_size: int) -> list[slice]:
    """Returns parts of so many rows, of which each has as many as `ops.loss` makes at once."""
    size = rows_at_once(vocab_size)
    return [slice(start, start + size) for start in range(0, rows, size)]


def log_p(logits: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor, vocab_size: int) -> Tensor:
    """Returns log softmax(logits(hidden)) at the targets, (S,), chunk by chunk, and again in the backward pass."""

    def part_of(rows: Tensor, tokens: Tensor) -> tuple[Tensor]:
        return (-F.cross_entropy(accurate(logits(rows)), tokens, reduction="none"),)

    parts = [
        again(part_of, hidden[part], targets[part], use_reentrant=False)[0] for part in chunks(len(hidden), vocab_size)
    ]
    return torch.cat(parts) if parts else accurate(hidden).sum(-1)  # of nothing, with a gradient


def table_of(tied: Embedding, kind: str) -> nn.Parameter:
    """Returns the (V, E) table of an embedding. Raises UserError if it has none."""
    weight = getattr(tied, "weight", None)
    if not isinstance(weight, nn.Parameter):
        raise UserError(f"head={kind} cannot be tied to an embedding without a table; set tie_embeddings to none")
    return weight


def accurate(logits: Tensor) -> Tensor:
    """Returns logits in float32, or float64 if that is what they are."""
    return logits if logits.dtype == torch.float64 else logits.float()
