"""Rotary positions."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from transduce.errors import UserError, require_at_least
from transduce.model.ops.rotary import rotary_table, rotate
from transduce.model.positions.position import Positions, PositionsConfig, Queries


class Rotary(Positions):
    table: Tensor

    def __init__(self, limit: int, head_dim: int, base: float) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("table", rotary_table(limit, head_dim, base).flatten(1), persistent=False)

    def turn(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = F.embedding(positions.clamp(min=0), self.table).chunk(2, dim=-1)
        return rotate(q, cos, sin), rotate(k, cos, sin)


@dataclass(frozen=True, kw_only=True)
class RotaryConfig(PositionsConfig):
    """Queries and keys turned by their position: scores depend on distance.   Su et al. 2021, arXiv:2104.09864."""

    kind: ClassVar[str] = "rotary"
    acts = "turn"
    base: float = 10_000.0
    limit: int = 4096

    def __post_init__(self) -> None:
        require_at_least(1, limit=self.limit)

    def build(self, width: int, queries: Queries | None) -> Positions:
        assert queries is not None
        if queries.head_dim % 2:
            raise UserError(
                f"head_dim={queries.head_dim} is odd, but rotary positions turn pairs; choose heads so that it is even"
            )
        return Rotary(self.limit, queries.head_dim, self.base)
