"""One vector per step of numbers.

Tested in tests/model/test_vectors.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.embed.embedding import Embedding, EmbeddingConfig
from transduce.model.layout import Layout
from transduce.model.norms.norm import NormConfig
from transduce.model.ops.dropout import dropout
from transduce.model.positions.position import Positions


class Vectors(Embedding):
    """See `VectorsConfig`."""

    def __init__(self, features: int, width: int, positions: Positions, scale: float, p: float) -> None:
        super().__init__()
        self.project, self.positions, self.scale, self.p = nn.Linear(features, width), positions, scale, p

    def forward(self, ids: Tensor, layout: Layout) -> Tensor:
        x = self.project(ids.to(self.project.weight.dtype)) * self.scale
        return dropout(self.positions.add_to(x, layout), self.p, self.training)


@dataclass(frozen=True, kw_only=True)
class VectorsConfig(EmbeddingConfig):
    """W x + b, of (B, T, F) numbers x."""

    kind: ClassVar[str] = "vectors"

    def build(
        self, vocab_size: int, width: int, norm: NormConfig, positions: Positions, *, scale: float, p: float,
        shared: Embedding | None = None,
    ) -> Embedding:  # fmt: skip
        if shared is not None:
            raise UserError(f"embedding={self.kind} has no table to share; set model.tie_embeddings=none")
        return Vectors(vocab_size, width, positions, scale, p)
