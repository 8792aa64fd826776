"""Relative positions as vectors: one trained vector for each head and distance, which the query is compared with.

Tested in tests/model/test_positions.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from transduce.errors import require_at_least
from transduce.model.positions.position import Positions, PositionsConfig, Queries, distances, slide, steps


class ShawVectors(Positions):
    """q_i . r_{i-j} / sqrt(D), of one mixer."""

    by_head = True
    scaled = True

    def __init__(self, config: "ShawConfig", queries: Queries) -> None:
        super().__init__()
        self.most = config.max_distance
        self.weight = nn.Parameter(torch.empty(queries.heads, 2 * config.max_distance + 1, queries.head_dim))

    def start(self) -> dict[str, Callable[[Tensor, Generator], object]]:
        """Returns start values of the size that projected keys have."""
        return {"weight": lambda x, g: nn.init.normal_(x, std=x.shape[-1] ** -0.5, generator=g)}

    def bias(self, q: Tensor, at: Tensor | None, keys: Tensor | None, causal: bool = False) -> Tensor:
        behind = steps(q, causal)
        q = (q * q.shape[-1] ** -0.5).transpose(1, 2)  # (B, H, T, D)
        if at is None or keys is None:
            return slide(q @ self.weight[:, self.rows(behind)].to(q.dtype).mT)
        scores = q @ self.weight.to(q.dtype).mT  # (B, H, T, 2 max + 1), of every distance there is a vector for
        rows = self.rows(distances(at, keys))[:, None].expand(-1, q.shape[1], -1, -1)
        return scores.gather(-1, rows)

    def rows(self, behind: Tensor) -> Tensor:
        """Returns the row of each distance (...); those further away than `most` have that of `most`."""
        return behind.clamp(-self.most, self.most) + self.most


class Shaw(Positions):
    """The options of the vectors that each mixer makes."""

    def __init__(self, config: "ShawConfig", queries: Queries) -> None:
        super().__init__()
        self.config, self.queries = config, queries

    def for_mixer(self) -> Positions:
        return ShawVectors(self.config, self.queries)


@dataclass(frozen=True, kw_only=True)
class ShawConfig(PositionsConfig):
    """S_ij = q_i . (k_j + r_{i-j}) / sqrt(D), a trained r for each head and distance.   Shaw et al. 2018,
    arXiv:1803.02155, eq. 4, without their vectors for values.

    One product of all queries with all vectors, then a shift (Huang et al. 2018, arXiv:1809.04281, sec. 3.4.1): beside
    the scores it takes T D numbers, not T^2 D.

    max_distance: what lies further away, on either side, is treated as that.
    """

    kind: ClassVar[str] = "shaw"
    acts = "bias"
    max_distance: int = 128

    def __post_init__(self) -> None:
        require_at_least(1, max_distance=self.max_distance)

    def build(self, width: int, queries: Queries | None) -> Positions:
        assert queries is not None
        return Shaw(self, queries)

    @classmethod
    def examples(cls) -> list[PositionsConfig]:
        return [cls(max_distance=20), cls(max_distance=3)]
