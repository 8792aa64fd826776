"""Softmax attention: the memory is the list of all keys and values."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least, require_probability
from transduce.model.cache import Cache, Memory, Recall, Seen
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.norms.norm import NormConfig, RMSNorm, normed
from transduce.model.ops.attention import attend
from transduce.model.ops.local_attention import attend_near
from transduce.model.positions.position import Positions, Queries
from transduce.model.roles import Roles


class Attention(Mixer):
    """softmax(q k^T / sqrt(D)) v in H heads, H/G of them per key head.   Vaswani et al. 2017; Ainslie et al. 2023."""

    roles: ClassVar[Roles] = {"v.weight": "adds", "out.weight": "writes"}
    same_input: ClassVar[tuple[str, ...]] = ("q", "k", "v")
    tp_plan: ClassVar[dict[str, str]] = {"q": "columns", "k": "columns", "v": "columns", "out": "rows"}
    by_document: ClassVar[bool] = True
    by_reach: ClassVar[bool] = True

    def __init__(self, config: "AttentionConfig", width: int, positions: Positions) -> None:
        super().__init__()
        self.head_dim = config.head_dim(width)
        self.recall, self.p = Recall(config.window, config.sinks), config.dropout
        self.scale, self.softcap = config.scale, config.softcap
        self.rewinds = config.window is None  # else later tokens take the slots of earlier ones
        self.at_once = self.rewinds and type(positions).bias is Positions.bias
        groups = config.kv_heads or config.heads
        self.q = nn.Linear(width, config.heads * self.head_dim, bias=config.bias)
        self.k = nn.Linear(width, groups * self.head_dim, bias=config.bias)
        self.v = nn.Linear(width, groups * self.head_dim, bias=config.bias)
        out_bias = config.bias if config.out_bias is None else config.out_bias
        self.out = nn.Linear(config.heads * self.head_dim, width, bias=out_bias)
        norm = config.qk_norm
        self.q_norm, self.k_norm = (None if norm is None else norm.build(self.head_dim) for _ in range(2))
        self.positions = positions
        if positions.scaled and (config.scale is not None or config.softcap is not None):
            raise UserError("transformer-xl positions are part of the scaled scores; leave out scale and softcap")
        if positions.by_head:
            self.tp_plan = {}  # pyright: ignore[reportAttributeAccessIssue]
            self.no_plan = "its positions have numbers of their own for every head"

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> Cache:
        shape = (self.k.out_features // self.head_dim, self.head_dim)
        return self.recall.empty(batch, max_len, [shape, shape], device, dtype)

    def forward(self, x: Tensor, layout: Layout, state: Cache | None = None) -> tuple[Tensor, Cache | None]:
        q, new = self.project(x, layout)
        if state is None and self.near(layout):
            return self.out(self.combine_near(q, *new, layout, causal=True)), None
        seen, after = self.recall.forward(new, layout, state)
        return self.out(self.combine(q, layout, seen, whole=state is None)), after

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        q, new = self.project(x, layout)
        if self.near(layout):
            return self.out(self.combine_near(q, *new, layout, causal=False))
        seen = self.recall.read(layout, self.recall.write(new, layout))
        return self.out(self.combine(q, layout, seen, whole=True))

    def write(self, x: Tensor, layout: Layout, state: Cache | None = None) -> Memory | Cache:
        k, v = self.keys(x), self.heads(self.v(x))
        return self.recall.write((self.positions.turn(k, k, layout.place)[1], v), layout, state)

    def read(self, x: Tensor, layout: Layout, state: Memory | Cache) -> Tensor:
        return self.out(self.combine(self.turned_queries(x, layout), layout, self.recall.read(layout, state)))

    def weights(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        """Returns (B, H, T, N): the weight that each token gives to each of those it sees, as attention finds it."""
        k, (batch, keys) = seen.fields[0], seen.positions.shape
        one_hot = torch.eye(keys, dtype=k.dtype, device=k.device)[None, :, None].expand(batch, -1, k.shape[2], -1)
        y = self.combine(self.turned_queries(x, layout), layout, seen._replace(fields=(k, one_hot)))
        return y.view(*y.shape[:2], -1, keys).transpose(1, 2)

    def project(self, x: Tensor, layout: Layout) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Returns queries (B, T, H, D), and keys and values (B, T, G, D)."""
        q, k = self.positions.turn(self.queries(x), self.keys(x), layout.place)
        return q, (k, self.heads(self.v(x)))

    def turned_queries(self, x: Tensor, layout: Layout) -> Tensor:
        q = self.queries(x)
        return self.positions.turn(q, q, layout.place)[0]

    def queries(self, x: Tensor) -> Tensor:
        """Returns (B, T, H, D), normalised, not yet turned."""
        q = self.heads(self.q(x))
        return q if self.q_norm is None else normed(self.q_norm, q)

    def keys(self, x: Tensor) -> Tensor:
        """Returns (B, T, G, D), normalised, not yet turned."""
        k = self.heads(self.k(x))
        return k if self.k_norm is None else normed(self.k_norm, k)

    def heads(self, x: Tensor) -> Tensor:
        """(B, T, heads * D) -> (B, T, heads, D), however many heads this rank holds."""
        return x.view(*x.shape[:2], -1, self.head_dim)

    def combine(self, q: Tensor, layout: Layout, seen: Seen, whole: bool = False) -> Tensor:
        """Returns the output of queries (B, T, H, D).

        whole: they see the very sequence they stand in, from its start, so that slots are positions where a row is one
        sequence.
        """
        k, v = (field.to(q.dtype) for field in seen.fields)
        bias = self.bias(q, layout, seen, whole)
        return attend(
            self.positions.lean(q), k, v, seen.mask, causal=seen.causal, p=self.p if self.training else 0.0,
            bias=bias, scale=self.scale, softcap=self.softcap,
        )  # fmt: skip

    def near(self, layout: Layout) -> bool:
        """Says whether a whole sequence is read in blocks: it is long for the window, nothing else changes scores."""
        window, simple = self.recall.rule.window, layout.segments is None and layout.reach is None
        if window is None or self.recall.rule.sinks or not simple:
            return False
        return layout.positions.shape[1] > 2 * window and type(self.positions).bias is Positions.bias

    def combine_near(self, q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, causal: bool) -> Tensor:
        window, p = self.recall.rule.window, self.p if self.training else 0.0
        assert window is not None
        return attend_near(
            q, k, v, window, causal=causal, lengths=layout.lengths, p=p, scale=self.scale, softcap=self.softcap
        )

    def bias(self, q: Tensor, layout: Layout, seen: Seen, whole: bool) -> Tensor | None:
        """Returns what positions add to the scores of queries (B, T, H, D), and the types of tokens."""
        simple = whole and layout.segments is None and layout.places is None
        keys = seen.positions if layout.places is None else layout.places
        bias = self.positions.bias(q, *((None, None) if simple else (layout.place, keys)), seen.causal)
        if bias is not None and not whole and layout.places is not None:
            raise UserError("positions that act on scores do not know the places of earlier tokens; read all at once")
        if self.positions.typed and layout.types is not None:
            if not whole:
                raise UserError("positions with segments do not know the types of earlier tokens; read all at once")
            more = self.positions.by_type(q, layout.types)
            bias = more if bias is None or more is None else bias + more
        return bias


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(MixerConfig):
    """softmax(q k^T / sqrt(D)) v, head by head.   Vaswani et al. 2017; grouped: Ainslie et al. 2023, arXiv:2305.13245.

    A source is read without window and sinks.

    heads: query heads.
    kv_heads: key heads, each shared by heads / kv_heads query heads (None: one per query head).
    size: features of a head (None: width / heads).
    window: tokens a query sees, itself included (None: all).
    sinks: first tokens seen whatever the window.
    bias: of queries, keys and values.
    out_bias: of the last map (None: as bias).
    dropout: of attention weights.
    scale: of scores (None: size^-1/2).
    qk_norm: of each query and key, before positions turn them (None: none; Dehghani et al. 2023, arXiv:2302.05442).
    softcap: scaled scores s become softcap tanh(s / softcap), as in Gemma 2, arXiv:2408.00118 (None: they stay).
    """

    kind: ClassVar[str] = "attention"
    positions: ClassVar[frozenset[str]] = frozenset({"turn", "bias"})
    heads: int = 4
    kv_heads: int | None = None
    size: int | None = None
    window: int | None = None
    sinks: int = 0
    bias: bool = True
    out_bias: bool | None = None
    dropout: float = 0.0
    scale: float | None = None
    qk_norm: NormConfig | None = None
    softcap: float | None = None

    def __post_init__(self) -> None:
        if self.heads < 1 or (self.kv_heads is not None and not 1 <= self.kv_heads <= self.heads):
            raise UserError(
                f"heads={self.heads} and kv_heads={self.kv_heads} must be at least 1, and kv_heads at most heads"
            )
        if self.kv_heads is not None and self.heads % self.kv_heads:
            fit = max(d for d in range(1, self.kv_heads) if self.heads % d == 0)
            raise UserError(f"heads={self.heads} is not a multiple of kv_heads={self.kv_heads}; try kv_heads={fit}")
        require_probability(dropout=self.dropout)
        require_at_least(1, size=self.size)
        require_at_least(0, sinks=self.sinks)
        if self.window is not None and self.window < 1:
            raise UserError(f"window={self.window} lets no token see itself; use at least 1, or null for no window")
        for name, value in (("scale", self.scale), ("softcap", self.softcap)):
            if value is not None and value <= 0.0:
                raise UserError(f"{name}={value} must be above 0, or null for the usual")

    def head_dim(self, width: int) -> int:
        if self.size is None and width % self.heads:
            fit = min((h for h in range(1, width + 1) if width % h == 0), key=lambda h: (abs(h - self.heads), h))
            raise UserError(
                f"heads={self.heads} does not divide width={width}; try heads={fit}, or give `size` per head"
            )
        return self.size or width // self.heads

    def queries(self, width: int) -> Queries:
        return Queries(self.heads, self.head_dim(width))

    def for_source(self) -> MixerConfig:
        return replace(self, window=None, sinks=0)

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        grouped, windowed = cls(heads=4, kv_heads=2), cls(heads=2, window=4)
        return [
            cls(heads=4),
            grouped,
            cls(heads=4, kv_heads=1, size=6, bias=False),
            windowed,
            cls(heads=2, window=3, sinks=2),
            cls(heads=2, qk_norm=RMSNorm(), scale=0.7, softcap=2.0, out_bias=False),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Attention(self, width, positions)
