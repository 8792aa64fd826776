"""Attention in which what a token says and where it stands are told apart."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least, require_probability
from transduce.model.cache import Cache, Memory, Recall, Seen
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.attention import attend
from transduce.model.positions.disentangled import RelativeTable
from transduce.model.positions.position import Positions, Queries
from transduce.model.roles import Roles


class Disentangled(Mixer):
    """softmax((q_i . k_j + q_i . K r_{i-j} + k_j . Q r_{i-j}) / sqrt(3 D)) v.   He et al. 2020, eqs. 4 and 5.

    Q and K: maps of their own for the vectors of distances (pos_q, pos_k), or those of the tokens (q, k).
    """

    roles: ClassVar[Roles] = {"v.weight": "adds", "out.weight": "writes"}
    tp_plan: ClassVar[dict[str, str]] = {"q": "columns", "k": "columns", "v": "columns", "out": "rows"}
    by_document: ClassVar[bool] = True
    rewinds = True

    def __init__(self, config: "DisentangledConfig", width: int, positions: Positions) -> None:
        super().__init__()
        self.head_dim, self.p, self.recall = config.head_dim(width), config.dropout, Recall()
        self.c2p, self.p2c = config.c2p, config.p2c
        self.scale = (self.head_dim * (1 + config.c2p + config.p2c)) ** -0.5
        inner = config.heads * self.head_dim
        self.q, self.v = nn.Linear(width, inner), nn.Linear(width, inner)
        self.k = nn.Linear(width, inner, bias=config.key_bias)
        self.out = nn.Linear(inner, width)
        self.positions = positions if isinstance(positions, RelativeTable) else None
        own = self.positions is not None and not config.shared
        self.pos_k = nn.Linear(width, inner, bias=config.key_bias) if own and config.c2p else None
        self.pos_q = nn.Linear(width, inner) if own and config.p2c else None
        maps = {name: "columns" for name in ("pos_k", "pos_q") if getattr(self, name) is not None}
        object.__setattr__(self, "tp_plan", {**self.tp_plan, **maps})

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> Cache:
        shape = (self.k.out_features // self.head_dim, self.head_dim)
        return self.recall.empty(batch, max_len, [shape, shape], device, dtype)

    def forward(self, x: Tensor, layout: Layout, state: Cache | None = None) -> tuple[Tensor, Cache | None]:
        seen, after = self.recall.forward(self.keys(x), layout, state)
        return self.combine(x, layout, seen, whole=state is None), after

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        seen = self.recall.read(layout, self.recall.write(self.keys(x), layout))
        return self.combine(x, layout, seen, whole=True)

    def write(self, x: Tensor, layout: Layout, state: Cache | None = None) -> Memory | Cache:
        return self.recall.write(self.keys(x), layout, state)

    def read(self, x: Tensor, layout: Layout, state: Memory | Cache) -> Tensor:
        return self.combine(x, layout, self.recall.read(layout, state))

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns keys and values (B, T, H, D)."""
        return self.heads(self.k(x)), self.heads(self.v(x))

    def heads(self, x: Tensor) -> Tensor:
        """(..., heads * D) -> (..., heads, D), however many heads this rank holds."""
        return x.view(*x.shape[:-1], -1, self.head_dim)

    def combine(self, x: Tensor, layout: Layout, seen: Seen, whole: bool = False) -> Tensor:
        """Returns the output of tokens (B, T, M).

        whole: what they see is the sequence they stand in, from its start.
        """
        q = self.heads(self.q(x))
        k, v = (field.to(q.dtype) for field in seen.fields)
        bias = None
        if self.positions is not None and (self.c2p or self.p2c):
            one = whole and layout.segments is None  # then slots are positions, in all rows alike
            slots = torch.arange(q.shape[1], device=q.device)[None]
            rows = self.positions.rows(*((slots, slots) if one else (layout.positions, seen.positions)))
            bias = self.placed(q, k, self.positions.vectors(), rows)
        y = attend(
            q, k, v, seen.mask, causal=seen.causal, p=self.p if self.training else 0.0, bias=bias, scale=self.scale
        )
        return self.out(y)

    def placed(self, q: Tensor, k: Tensor, r: Tensor, rows: Tensor) -> Tensor:
        """(B, H, T, N): the scaled terms of vectors r (R, M), of which `rows` (B or 1, T, N) says which."""
        rows = rows[:, None].expand(q.shape[0], q.shape[2], -1, -1)
        terms: list[Tensor] = []
        if self.c2p:
            places = self.heads((self.pos_k or self.k)(r))
            terms.append(torch.einsum("bthd,rhd->bhtr", q * self.scale, places).gather(-1, rows))
        if self.p2c:
            places = self.heads((self.pos_q or self.q)(r)) * self.scale
            terms.append(torch.einsum("bnhd,rhd->bhnr", k, places.to(k.dtype)).gather(-1, rows.mT).mT)
        return sum(terms[1:], terms[0])


@dataclass(frozen=True, kw_only=True)
class DisentangledConfig(MixerConfig):
    """q_i . k_j + q_i . K r_{i-j} + k_j . Q r_{i-j}: what is there, and how far.   He et al. 2020, arXiv:2006.03654.

    The r are those of positions=disentangled; without them the first term is left.

    heads: how many.
    size: features of a head (None: width / heads).
    c2p: the second term, from content to position.
    p2c: the third term, from position to content.
    shared: K and Q are the maps of the tokens (DeBERTa-v2).
    key_bias: of the maps of keys and K (the first DeBERTa has none); all others have one.
    dropout: of attention weights.
    """

    kind: ClassVar[str] = "disentangled"
    positions: ClassVar[frozenset[str]] = frozenset({"table"})
    heads: int = 4
    size: int | None = None
    c2p: bool = True
    p2c: bool = True
    shared: bool = True
    key_bias: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, heads=self.heads, size=self.size)
        require_probability(dropout=self.dropout)

    def head_dim(self, width: int) -> int:
        if self.size is None and width % self.heads:
            raise UserError(f"heads={self.heads} does not divide width={width}; choose one that does, or give `size`")
        return self.size or width // self.heads

    def queries(self, width: int) -> Queries:
        return Queries(self.heads, self.head_dim(width))

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [cls(heads=4), cls(heads=2, shared=False, key_bias=False), cls(heads=2, size=6, shared=False, c2p=False)]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Disentangled(self, width, positions)
