"""Vectors of distances, which mixers that can do so meet with their queries and keys.

Tested in tests/model/mixers/test_disentangled.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.norms.norm import LayerNorm, NormConfig
from transduce.model.positions.position import Positions, PositionsConfig, Queries, distances


class RelativeTable(Positions):
    """R vectors on either side, shared by the mixers of a stack. See `RelativeTableConfig`. weight: (2 R, M)."""

    def __init__(self, config: "RelativeTableConfig", width: int) -> None:
        super().__init__()
        self.side = config.side
        self.weight = nn.Parameter(torch.empty(2 * self.side, width))
        self.norm = None if config.norm is None else config.norm.build(width)
        self.exact = self.stretch = None
        if config.buckets is not None:
            self.exact = config.buckets // 2
            # in float32, whose rounding decides at the borders of published tables
            self.stretch = float(torch.tensor((config.max_distance - 1) / self.exact, device="cpu").log())

    def start(self) -> dict[str, Callable[[Tensor, Generator], object]]:
        """Returns the start values of the published code."""
        return {"weight": lambda x, g: nn.init.normal_(x, std=0.02, generator=g)}

    def vectors(self) -> Tensor:
        """Returns (2 R, M): row R + d of those at bucketed distance d, a key behind its query."""
        return self.weight if self.norm is None else self.norm(self.weight)

    def rows(self, at: Tensor, keys: Tensor) -> Tensor:
        """Returns (B, T, N) int64: the row for a query at (B, T) and a key at (B, N); the last for what is too far."""
        return (self.bucket(distances(at, keys)) + self.side).clamp(0, 2 * self.side - 1)

    def bucket(self, behind: Tensor) -> Tensor:
        """Returns distances with their sign, as they are up to half of the buckets, then rounded up on a log scale."""
        if self.exact is None or self.stretch is None:
            return behind
        far = (behind.abs().clamp(min=self.exact).float() / self.exact).log() / self.stretch * (self.exact - 1)
        return torch.where(behind.abs() <= self.exact, behind, (far.ceil().long() + self.exact) * behind.sign())


class RelativeTables(Positions):
    """The options of the tables that stacks make."""

    def __init__(self, config: "RelativeTableConfig", width: int) -> None:
        super().__init__()
        self.config, self.width = config, width

    def for_stack(self, causal: bool) -> Positions:
        return RelativeTable(self.config, self.width)


@dataclass(frozen=True, kw_only=True)
class RelativeTableConfig(PositionsConfig):
    """One trained vector per distance, which mixer=disentangled projects.   He et al. 2020, arXiv:2006.03654, eq. 3.

    One table serves all layers of a stack.

    max_distance: what lies further away, on either side, is treated as that.
    buckets: rows on either side, half of them for one distance each, the others log-spaced up to max_distance, as in
        DeBERTa-v2 (None: a row for every distance).
    norm: of the table (None: it has none).
    """

    kind: ClassVar[str] = "disentangled"
    acts = "table"
    max_distance: int = 512
    buckets: int | None = None
    norm: NormConfig | None = field(default_factory=LayerNorm)

    def __post_init__(self) -> None:
        require_at_least(1, max_distance=self.max_distance)
        require_at_least(2, buckets=self.buckets)
        if self.buckets is not None and self.max_distance <= self.buckets // 2 + 1:
            raise UserError(
                f"max_distance={self.max_distance} leaves nothing to the wider half of buckets={self.buckets}; "
                f"use at least {self.buckets // 2 + 2}, or no buckets"
            )

    @property
    def side(self) -> int:
        """Returns rows on either side."""
        return self.buckets or self.max_distance

    def build(self, width: int, queries: Queries | None) -> Positions:
        return RelativeTables(self, width)

    @classmethod
    def examples(cls) -> list[PositionsConfig]:
        return [cls(max_distance=5, norm=None), cls(max_distance=11, buckets=6)]
