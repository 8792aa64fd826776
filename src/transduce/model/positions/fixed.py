"""Sines and cosines that are kept with the weights of a model, and never trained.

Tested in tests/model/test_listener.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import require_at_least
from transduce.model.init.init import Initialiser, values
from transduce.model.positions.absolute import sinusoid
from transduce.model.positions.position import Positions, PositionsConfig, Queries
from transduce.model.roles import Roles


class Fixed(Positions):
    """`weight`: (limit, M), which no gradient reaches."""

    roles: ClassVar[Roles] = {"weight": "places"}

    def __init__(self, limit: int, width: int) -> None:
        super().__init__()
        self.limit = limit
        self.weight = nn.Parameter(torch.empty(limit, width), requires_grad=False)

    def start(self) -> dict[str, Initialiser]:
        return {"weight": values(lambda shape, _: sines(*shape))}

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + F.embedding(positions.clamp(min=0), self.weight.detach()).to(x.dtype)


def sines(rows: int, width: int) -> Tensor:
    """Returns (rows, width) float64: all sines of the position, then all cosines. Raises UserError if width is odd."""
    return sinusoid(torch.arange(rows), width, order="halves", ends=True)


@dataclass(frozen=True, kw_only=True)
class FixedConfig(PositionsConfig):
    """Sines and cosines of the position, kept with the weights.   Radford et al. 2022, arXiv:2212.04356, sec. 2.2.

    Published tables were rounded once, so that computing them again would give other numbers. Wavelengths are from 2 pi
    to 2 pi 10,000; the table is not trained.

    limit: most positions.
    """

    kind: ClassVar[str] = "fixed"
    acts = "add"
    limit: int = 1500

    def __post_init__(self) -> None:
        require_at_least(1, limit=self.limit)

    def build(self, width: int, queries: Queries | None) -> Positions:
        return Fixed(self.limit, width)
