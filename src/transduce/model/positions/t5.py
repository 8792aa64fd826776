"""Relative positions in buckets that widen with distance.

Tested in tests/model/test_positions.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.positions.position import Positions, PositionsConfig, Queries, distances, slide, steps


def bucket(behind: Tensor, buckets: int, max_distance: int, causal: bool) -> Tensor:
    """Returns the bucket of each distance: one each up to half of them, then log-spaced up to max_distance.

    behind: int64, how far a key lies behind the query. causal: all ahead share bucket 0; else they have the upper
    half of the buckets. The logarithm is in float32, whose rounding decides at the borders of published tables.
    """
    if causal:
        ahead, distance = 0, behind.clamp(min=0)
    else:
        buckets //= 2
        ahead, distance = buckets * (behind < 0), behind.abs()
    exact = buckets // 2
    large = (distance.clamp(min=exact).float() / exact).log() / math.log(max_distance / exact) * (buckets - exact)
    return ahead + torch.where(distance < exact, distance, (exact + large.long()).clamp(max=buckets - 1))


class T5Table(Positions):
    """One number per bucket and head, shared by the mixers of a stack."""

    by_head = True

    def __init__(self, config: "T5Config", width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.max_distance, self.causal, self.std = config.max_distance, causal, width**-0.5
        self.weight = nn.Parameter(torch.empty(config.buckets, heads))

    def start(self) -> dict[str, Callable[[Tensor, Generator], object]]:
        """Returns the start values of the published code."""
        return {"weight": lambda x, g: nn.init.normal_(x, std=self.std, generator=g)}

    def bias(self, q: Tensor, at: Tensor | None, keys: Tensor | None, causal: bool = False) -> Tensor:
        if at is None or keys is None:
            return slide(self.look_up(steps(q, causal)).mT[:, None].expand(-1, q.shape[1], -1))[None]
        return self.look_up(distances(at, keys)).permute(0, 3, 1, 2)

    def look_up(self, behind: Tensor) -> Tensor:
        """(..., H) of distances (...)."""
        return F.embedding(bucket(behind, self.weight.shape[0], self.max_distance, self.causal), self.weight)


class T5(Positions):
    """The options of the tables that stacks make."""

    def __init__(self, config: "T5Config", width: int, heads: int) -> None:
        super().__init__()
        self.config, self.width, self.heads = config, width, heads

    def for_stack(self, causal: bool) -> Positions:
        return T5Table(self.config, self.width, self.heads, causal)


@dataclass(frozen=True, kw_only=True)
class T5Config(PositionsConfig):
    """Scores plus a trained number per head and bucket of i - j, one table per stack.   Raffel et al. 2020, sec. 2.1.

    T5 does not scale its scores: set `mixer.scale` to 1.

    buckets: how many; in an encoder half of them lie ahead.
    max_distance: from here on one bucket.
    """

    kind: ClassVar[str] = "t5"
    acts = "bias"
    buckets: int = 32
    max_distance: int = 128

    def __post_init__(self) -> None:
        require_at_least(4, buckets=self.buckets)
        if self.max_distance <= self.buckets // 2:
            raise UserError(
                f"max_distance={self.max_distance} leaves nothing to the wider half of buckets={self.buckets}; "
                f"use at least {self.buckets // 2 + 1}"
            )

    def build(self, width: int, queries: Queries | None) -> Positions:
        assert queries is not None
        return T5(self, width, queries.heads)

    @classmethod
    def examples(cls) -> list[PositionsConfig]:
        return [cls(buckets=6, max_distance=9)]
