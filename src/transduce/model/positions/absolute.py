"""Encodings of the absolute position, added to the embedding.

Tested in tests/model/test_positions.py.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.positions.position import Positions, PositionsConfig, Queries, table_of
from transduce.model.positions.scaling import require_positive
from transduce.model.roles import Roles

Order = Literal["interleaved", "halves"]


def sinusoid(
    positions: Tensor, dim: int, base: float = 10_000.0, order: Order = "interleaved", ends: bool = False
) -> Tensor:
    """sin and cos of position * base^(-2i/dim), interleaved or all sines first.   Vaswani et al. 2017, sec. 3.5.

    positions: integers of any shape (...). ends: base^(-2i/(dim-2)) instead, so that the last is 1/base.
    Returns (..., dim) float64 in [-1, 1].  Raises UserError if dim is odd.
    """
    if dim % 2:
        raise UserError(f"width={dim} is odd, but sines and cosines come in pairs; use {dim + 1}")
    pairs = torch.arange(0, dim, 2, dtype=torch.float64)
    angle = positions.double()[..., None] * base ** (-pairs / (max(dim - 2, 1) if ends else dim))
    if order == "halves":
        return torch.cat([angle.sin(), angle.cos()], dim=-1)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)


class Sinusoidal(Positions):
    table: Tensor

    def __init__(self, config: "SinusoidalConfig", width: int) -> None:
        super().__init__()
        self.limit, start = config.limit, config.offset

        def table(rows: int) -> Tensor:
            places = torch.arange(start, start + rows)
            return sinusoid(places, width, config.base, config.order, config.ends).float()

        self.register_buffer("table", table_of(config.limit, table), persistent=False)

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + F.embedding(positions.clamp(min=0), self.table).to(x.dtype)


class Learned(Positions):
    roles: ClassVar[Roles] = {"weight": "places", "*": "lookup"}

    def __init__(self, limit: int, width: int, offset: int, inner: int) -> None:
        super().__init__()
        self.limit, self.offset = limit, offset
        self.weight = nn.Parameter(torch.empty(limit + offset, width))
        self.inner = nn.Parameter(torch.empty(inner, width)) if inner else None

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + F.embedding(positions.clamp(min=0) + self.offset, self.weight)

    def inside(self, x: Tensor, inner: Tensor | None) -> Tensor:
        if self.inner is None:
            if inner is not None:
                raise UserError("tokens have places inside blanks, but positions.inner=0 has no vectors for them")
            return x
        return x + (self.inner[0] if inner is None else F.embedding(inner.clamp(min=0), self.inner))


@dataclass(frozen=True, kw_only=True)
class SinusoidalConfig(PositionsConfig):
    """Fixed sines and cosines of the position.   Vaswani et al. 2017, sec. 3.5.

    base: of the wavelengths, the longest of which is 2 pi base.
    limit: most positions.
    order: sines and cosines "interleaved", or in two "halves" (Marian, CTRL, Pegasus).
    offset: the first position.
    ends: wavelengths from 2 pi to exactly 2 pi base, as tensor2tensor had them (M2M-100).
    """

    kind: ClassVar[str] = "sinusoidal"
    acts = "add"
    base: float = 10_000.0
    limit: int = 4096
    order: Order = "interleaved"
    offset: int = 0
    ends: bool = False

    def __post_init__(self) -> None:
        require_at_least(1, limit=self.limit)
        require_at_least(0, offset=self.offset)
        require_positive(base=self.base)

    def build(self, width: int, queries: Queries | None) -> Positions:
        return Sinusoidal(self, width)


@dataclass(frozen=True, kw_only=True)
class LearnedConfig(PositionsConfig):
    """One trained vector per position.   Gehring et al. 2017, arXiv:1705.03122.

    limit: most positions.
    offset: rows of the table before that of the first position (RoBERTa, BART and OPT have 2).
    inner: rows of a second table, of the place inside a blank that a token fills, 0 for all other tokens (Du et al.
        2021, arXiv:2103.10360, sec. 2.3); 0: it has no such table.
    """

    kind: ClassVar[str] = "learned"
    acts = "add"
    limit: int = 1024
    offset: int = 0
    inner: int = 0

    def __post_init__(self) -> None:
        require_at_least(1, limit=self.limit)
        require_at_least(0, offset=self.offset, inner=self.inner)

    def build(self, width: int, queries: Queries | None) -> Positions:
        return Learned(self.limit, width, self.offset, self.inner)
