"""Rotary positions.

Tested in tests/model/test_positions.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.errors import UserError, require_at_least
from transduce.model.ops.rotary import rotate
from transduce.model.positions.position import Positions, PositionsConfig, Queries, table_of
from transduce.model.positions.scaling import (
    DynamicScalingConfig,
    LinearScalingConfig,
    ScalingConfig,
    frequencies,
    require_positive,
)


class Rotary(Positions):
    """dim: how many of the first features of a head are turned."""

    table: Tensor

    def __init__(self, config: "RotaryConfig", dim: int) -> None:
        super().__init__()
        self.dim, self.interleaved = dim, config.interleaved
        self.limit = config.limit if config.scaling is None else config.scaling.reach(config.limit)
        table = table_of(self.limit, lambda rows: angles(rows, dim, config.base, config.scaling))
        self.register_buffer("table", table, persistent=False)

    def turn(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = F.embedding(positions.clamp(min=0), self.table).chunk(2, dim=-1)
        return self.turned(q, cos, sin), self.turned(k, cos, sin)

    def turned(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        if self.dim < x.shape[-1]:
            return torch.cat([self.turned(x[..., : self.dim], cos, sin), x[..., self.dim :]], -1)
        if not self.interleaved:
            return rotate(x, cos, sin)
        pairs = x.view(*x.shape[:-1], -1, 2)
        y = rotate(pairs.mT.flatten(-2), cos, sin)
        return y.view(*x.shape[:-1], 2, -1).mT.flatten(-2)


def angles(limit: int, dim: int, base: float, scaling: ScalingConfig | None) -> Tensor:
    """Returns (limit, dim) float32: cosines, then sines, of position * frequency, with the gain of the scaling."""
    frequency = frequencies(dim, base) if scaling is None else scaling.frequencies(dim, base, limit)
    angle = torch.arange(limit, dtype=torch.float64)[:, None] * frequency
    gain = 1.0 if scaling is None else scaling.gain
    return (gain * torch.cat([angle.cos(), angle.sin()], 1)).float()


@dataclass(frozen=True, kw_only=True)
class RotaryConfig(PositionsConfig):
    """Queries and keys turned by their position: scores depend on distance.   Su et al. 2021, arXiv:2104.09864.

    base: of the frequencies.
    limit: most positions.
    fraction: of a head's features that are turned, the first ones (GPT-NeoX, Phi), rounded down to pairs, at least one.
    interleaved: pairs are neighbours (GPT-J), not feature i of each half (GPT-NeoX, LLaMA).
    scaling: of the frequencies, to read texts longer than those of training (None: as they are).
    """

    kind: ClassVar[str] = "rotary"
    acts = "turn"
    base: float = 10_000.0
    limit: int = 4096
    fraction: float = 1.0
    interleaved: bool = False
    scaling: ScalingConfig | None = None

    def __post_init__(self) -> None:
        require_at_least(1, limit=self.limit)
        require_positive(base=self.base)
        if not 0.0 < self.fraction <= 1.0:
            raise UserError(
                f"fraction={self.fraction} must be above 0 and at most 1: the part of a head that is turned"
            )

    def build(self, width: int, queries: Queries | None) -> Positions:
        assert queries is not None
        if queries.head_dim % 2:
            raise UserError(
                f"head_dim={queries.head_dim} is odd, but rotary positions turn pairs; choose heads so that it is even"
            )
        return Rotary(self, max(2, int(queries.head_dim * self.fraction) // 2 * 2))

    @classmethod
    def examples(cls) -> list[PositionsConfig]:
        return [
            cls(),
            cls(fraction=0.5, interleaved=True, scaling=LinearScalingConfig(factor=2.0)),
            cls(scaling=DynamicScalingConfig(factor=2.0, original=5)),
        ]
