"""Relative positions whose weight the query decides."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from transduce.errors import UserError
from transduce.model.positions.position import Positions, PositionsConfig, Queries, slide, steps


def waves(positions: Tensor, dim: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """sin and cos, (..., dim/2) each, of integers (...) times base^(-2i/dim)."""
    frequency = base ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=positions.device) / dim)
    turns = positions[..., None] * (frequency / math.tau)
    angle = (turns - turns.round()).to(torch.promote_types(dtype, torch.float32)) * math.tau
    return angle.sin().to(dtype), angle.cos().to(dtype)


class RelativeTerms(Positions):
    """(q_i + u) . k_j + (q_i + w) . W_R R_{i-j}: `lean` adds u, `bias` is the second term, scaled by 1 / sqrt(D)."""

    by_head = True
    scaled = True

    def __init__(self, width: int, queries: Queries, base: float) -> None:
        super().__init__()
        self.base = base
        self.r = nn.Linear(width, queries.heads * queries.head_dim, bias=False)
        self.u = nn.Parameter(torch.empty(queries.heads, queries.head_dim))
        self.w = nn.Parameter(torch.empty(queries.heads, queries.head_dim))

    def start(self) -> dict[str, Callable[[Tensor, Generator], object]]:
        """As in the published code."""
        return dict.fromkeys(("u", "w"), lambda x, g: nn.init.normal_(x, std=0.02, generator=g))

    def lean(self, q: Tensor) -> Tensor:
        return q + self.u.to(q.dtype)

    def bias(self, q: Tensor, at: Tensor | None, keys: Tensor | None, causal: bool = False) -> Tensor:
        q = (q + self.w.to(q.dtype)) * q.shape[-1] ** -0.5
        return self.slid(q, causal) if at is None or keys is None else self.between(q, at, keys)

    def slid(self, q: Tensor, causal: bool) -> Tensor:
        """Of one sequence: a product with every distance there is, then a shift."""
        r = self.r(torch.cat(self.waves(q, steps(q, causal)), -1)).view(-1, *q.shape[2:])
        return slide(torch.einsum("bthd,chd->bhtc", q, r))

    def between(self, q: Tensor, at: Tensor, keys: Tensor) -> Tensor:
        """Of any positions: since sin(i - j) = sin i cos j - cos i sin j, the term is a product of what depends on the
        query's position and what depends on the key's."""
        batch, tokens, heads, dim = q.shape
        g = torch.einsum("bthd,hdm->bhtm", q, self.r.weight.view(heads, dim, -1).to(q.dtype))
        sines, cosines = g.chunk(2, -1)
        s, c = (x[:, None] for x in self.waves(q, at))
        turned = torch.cat([cosines * s - sines * c, sines * s + cosines * c], -1)
        waved = torch.cat(self.waves(q, keys), -1)
        return (turned.flatten(1, 2) @ waved.mT).view(batch, heads, tokens, -1)

    def waves(self, q: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        return waves(positions, self.r.in_features, self.base, q.dtype)


class TransformerXL(Positions):
    """What the terms of each mixer are made of."""

    def __init__(self, width: int, queries: Queries, base: float) -> None:
        super().__init__()
        self.width, self.queries, self.base = width, queries, base

    def for_mixer(self) -> Positions:
        return RelativeTerms(self.width, self.queries, self.base)


@dataclass(frozen=True, kw_only=True)
class TransformerXLConfig(PositionsConfig):
    """S_ij = ((q_i + u) . k_j + (q_i + w) . W_R R_{i-j}) / sqrt(D), R sinusoids.   Dai et al. 2019, arXiv:1901.02860.

    Every mixer has W_R, u and w of its own. The memory of a previous segment is a decoder's state, with a `window`.
    """

    kind: ClassVar[str] = "transformer-xl"
    acts = "bias"
    base: float = 10_000.0

    def build(self, width: int, queries: Queries | None) -> Positions:
        assert queries is not None
        if width % 2:
            raise UserError(f"width={width} is odd, but sines and cosines come in pairs; use {width + 1}")
        return TransformerXL(width, queries, self.base)
