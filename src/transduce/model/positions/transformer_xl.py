"""Relative positions whose weight the query decides."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from transduce.errors import UserError
from transduce.model.positions.position import Positions, PositionsConfig, Queries, slide, steps
from transduce.model.positions.scaling import require_positive


def waves(positions: Tensor, dim: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """sin and cos, (..., dim/2) each, of integers (...) times base^(-2i/dim)."""
    frequency = base ** (-torch.arange(0, dim, 2, dtype=torch.float64, device=positions.device) / dim)
    turns = positions[..., None] * (frequency / math.tau)
    angle = (turns - turns.round()).to(torch.promote_types(dtype, torch.float32)) * math.tau
    return angle.sin().to(dtype), angle.cos().to(dtype)


class Lean(nn.Module):
    """u and w, (H, D) each: what all queries prefer, in keys and in distances."""

    def __init__(self, queries: Queries) -> None:
        super().__init__()
        self.u, self.w = (nn.Parameter(torch.empty(queries.heads, queries.head_dim)) for _ in range(2))


class RelativeTerms(Positions):
    """(q_i + u) . k_j + (q_i + w) . W_R R_{i-j}: `lean` adds u, `bias` is the second term, scaled by 1 / sqrt(D)."""

    by_head = True
    scaled = True
    multiplied: ClassVar[tuple[str, ...]] = ("r",)

    def __init__(self, config: "TransformerXLConfig", width: int, queries: Queries, shared: Lean | None) -> None:
        """Makes the terms of one mixer. shared: the u and w of all mixers."""
        super().__init__()
        self.base = config.base
        self.r = nn.Linear(width, queries.heads * queries.head_dim, bias=False)
        shape = (queries.heads, queries.head_dim)
        self.typed = config.segments
        self.s = nn.Parameter(torch.empty(shape)) if config.segments else None
        self.segments = nn.Parameter(torch.empty(2, *shape)) if config.segments else None
        own = Lean(queries) if shared is None and config.lean != "none" else shared
        self.u, self.w = (None, None) if own is None else (own.u, own.w)

    def start(self) -> dict[str, Callable[[Tensor, Generator], object]]:
        """Returns the start values of the published code."""
        own = [name for name, _ in self.named_parameters(recurse=False)]
        return dict.fromkeys(own, lambda x, g: nn.init.normal_(x, std=0.02, generator=g))

    def lean(self, q: Tensor) -> Tensor:
        return q if self.u is None else q + self.u.to(q.dtype)

    def bias(self, q: Tensor, at: Tensor | None, keys: Tensor | None, causal: bool = False) -> Tensor:
        q = (q if self.w is None else q + self.w.to(q.dtype)) * q.shape[-1] ** -0.5
        return self.slid(q, causal) if at is None or keys is None else self.between(q, at, keys)

    def by_type(self, q: Tensor, types: Tensor) -> Tensor | None:
        if self.s is None or self.segments is None:
            return None
        q = (q + self.s.to(q.dtype)) * q.shape[-1] ** -0.5
        same, other = torch.einsum("bthd,shd->sbht", q, self.segments.to(q.dtype))[..., None]
        return torch.where((types[:, :, None] == types[:, None, :])[:, None], same, other)

    def slid(self, q: Tensor, causal: bool) -> Tensor:
        """Returns the term of one sequence: a product with every distance there is, then a shift."""
        r = self.r(torch.cat(self.waves(q, steps(q, causal)), -1)).view(-1, *q.shape[2:])
        return slide(torch.einsum("bthd,chd->bhtc", q, r))

    def between(self, q: Tensor, at: Tensor, keys: Tensor) -> Tensor:
        """Returns the term of any positions: since sin(i - j) = sin i cos j - cos i sin j, it is a product of what
        depends on the query's position and what depends on the key's.
        """
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
    """The options of the terms that each mixer of a stack makes."""

    def __init__(self, config: "TransformerXLConfig", width: int, queries: Queries, shared: Lean | None = None) -> None:
        super().__init__()
        self.config, self.width, self.queries, self.shared = config, width, queries, shared

    def for_stack(self, causal: bool) -> Positions:
        one = Lean(self.queries) if self.config.lean == "stack" else None
        return TransformerXL(self.config, self.width, self.queries, one)

    def for_mixer(self) -> Positions:
        return RelativeTerms(self.config, self.width, self.queries, self.shared)


@dataclass(frozen=True, kw_only=True)
class TransformerXLConfig(PositionsConfig):
    """S_ij = ((q_i + u) . k_j + (q_i + w) . W_R R_{i-j}) / sqrt(D), R sinusoids.   Dai et al. 2019, arXiv:1901.02860.

    Every mixer has a W_R of its own. The memory of a previous segment is a decoder's state, with a `window`.

    base: of the wavelengths of R.
    lean: u and w of each "mixer" (XLNet), of a whole "stack" (Transformer-XL as it was published, Gopher), or "none".
    segments: (q_i + s) . e is added too, e one vector where the types of i and j are the same and another where they
        differ (Yang et al. 2019, arXiv:1906.08237, sec. 2.5).
    """

    kind: ClassVar[str] = "transformer-xl"
    acts = "bias"
    base: float = 10_000.0
    lean: Literal["mixer", "stack", "none"] = "mixer"
    segments: bool = False

    def __post_init__(self) -> None:
        require_positive(base=self.base)

    def build(self, width: int, queries: Queries | None) -> Positions:
        assert queries is not None
        if width % 2:
            raise UserError(f"width={width} is odd, but sines and cosines come in pairs; use {width + 1}")
        return TransformerXL(self, width, queries)

    @classmethod
    def examples(cls) -> list[PositionsConfig]:
        return [cls(), cls(lean="stack"), cls(lean="none", segments=True)]
