"""Encodings of a place in a picture, its row and its column, added to the embedding.

Tested in tests/model/test_pictures.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.layout import Grid, Layout
from transduce.model.positions.position import Positions, PositionsConfig, Queries, table_of
from transduce.model.positions.scaling import require_positive
from transduce.model.roles import Roles

A_LINE = "positions with rows and columns are those of pictures, but these inputs are a line"


class OnGrid(Positions):
    """The base of encodings with two directions. `limit` is None: a slot may have any number. side: most rows."""

    side: int

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        raise UserError(f"{A_LINE}; use positions=sinusoidal, or learned")

    def add_to(self, x: Tensor, layout: Layout) -> Tensor:
        if layout.grid is None:
            return self.add(x, layout.place)
        return x + self.of(layout.grid).to(x.dtype)

    def of(self, grid: Grid) -> Tensor:
        """Returns (B, T, M): what is added at each place; zeros at a slot that is no part of the picture."""
        raise AssertionError("an encoding of rows and columns defines of")


class Sinusoidal2d(OnGrid):
    """See `Sinusoidal2dConfig`. table: (limit, M / 2), of one direction."""

    table: Tensor

    def __init__(self, config: "Sinusoidal2dConfig", width: int) -> None:
        super().__init__()
        self.side = config.limit
        if width % 4:
            what = f"width={width} is no multiple of 4, but sines and cosines of rows and columns are four of each"
            raise UserError(f"{what}; use {width + 4 - width % 4}")

        def table(rows: int) -> Tensor:
            rates = config.base ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
            angle = torch.arange(rows, dtype=torch.float64)[:, None] * rates
            return torch.cat([angle.sin(), angle.cos()], -1).float()

        self.register_buffer("table", table_of(config.limit, table), persistent=False)

    def of(self, grid: Grid) -> Tensor:
        both = [F.embedding(places.clamp(min=0), self.table) for places in (grid.columns, grid.rows)]
        return torch.cat(both, -1) * (grid.rows >= 0)[..., None]


class Learned2d(OnGrid):
    """See `Learned2dConfig`. rows, columns: (limit, M / 2)."""

    roles: ClassVar[Roles] = {"rows": "places", "columns": "places"}

    def __init__(self, config: "Learned2dConfig", width: int) -> None:
        super().__init__()
        self.side = config.limit
        if width % 2:
            raise UserError(f"width={width} is odd, but rows and columns have half of it each; use {width + 1}")
        self.rows, self.columns = (nn.Parameter(torch.empty(config.limit, width // 2)) for _ in range(2))

    def of(self, grid: Grid) -> Tensor:
        both = (F.embedding(grid.rows.clamp(min=0), self.rows), F.embedding(grid.columns.clamp(min=0), self.columns))
        return torch.cat(both, -1) * (grid.rows >= 0)[..., None]


@dataclass(frozen=True, kw_only=True)
class Sinusoidal2dConfig(PositionsConfig):
    """Fixed sines and cosines of the column, then of the row, each with half of the features.

    As in MAE and MoCo v3: sin(p base^(-4i/M)) for i below M/4, then the cosines (Chen et al. 2021, arXiv:2104.02057,
    sec. 5.1; He et al. 2021, arXiv:2111.06377).

    base: of the wavelengths, the longest of which is about 2 pi base.
    limit: most rows, and most columns.
    """

    kind: ClassVar[str] = "sinusoidal-2d"
    acts = "add"
    base: float = 10_000.0
    limit: int = 256

    def __post_init__(self) -> None:
        require_at_least(1, limit=self.limit)
        require_positive(base=self.base)

    def build(self, width: int, queries: Queries | None) -> Positions:
        return Sinusoidal2d(self, width)


@dataclass(frozen=True, kw_only=True)
class Learned2dConfig(PositionsConfig):
    """A trained vector per row and one per column, each with half of the features.

    Dosovitskiy et al. 2020, arXiv:2010.11929, app. D.4.

    limit: most rows, and most columns.
    """

    kind: ClassVar[str] = "learned-2d"
    acts = "add"
    limit: int = 64

    def __post_init__(self) -> None:
        require_at_least(1, limit=self.limit)

    def build(self, width: int, queries: Queries | None) -> Positions:
        return Learned2d(self, width)
