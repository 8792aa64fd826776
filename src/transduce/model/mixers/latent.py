"""Attention whose memory is one small latent per token, from which every head makes its keys and values."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from transduce.errors import require_at_least, require_probability
from transduce.model.cache import Fields, Seen
from transduce.model.layout import Layout
from transduce.model.mixers.lookup import Lookup, head_size, mask_of
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.norms.norm import WholeRMSNorm, normed
from transduce.model.ops.attention import attend
from transduce.model.ops.rows import alike, more
from transduce.model.ops.scores import attending, product_scores
from transduce.model.positions.position import Positions, Queries
from transduce.model.roles import Roles


class Sizes(NamedTuple):
    """Features: of the part of a query without position, of the part with it, of a value, of the latent."""

    plain: int
    turned: int
    value: int
    rank: int


class LatentAttention(Lookup):
    """Multi-head latent attention.   DeepSeek-AI 2024, arXiv:2405.04434, sec. 2.1."""

    roles: ClassVar[Roles] = {"out.weight": "writes"}
    multiplied: ClassVar[tuple[str, ...]] = ("kv",)
    tp_plan: ClassVar[dict[str, str]] = {"q": "columns", "kv": "columns", "out": "rows"}

    def __init__(self, config: "LatentConfig", width: int, positions: Positions) -> None:
        super().__init__()
        size = self.sizes = config.sizes(width)
        self.head_dim, self.p, self.positions = size.plain + size.turned, config.dropout, positions
        rank = config.q_rank
        self.q_latent = nn.Linear(width, rank, bias=False) if rank else nn.Identity()
        self.q_norm = WholeRMSNorm(rank, eps=1e-6) if rank else nn.Identity()
        self.q = nn.Linear(rank or width, config.heads * self.head_dim, bias=False)
        self.kv_latent = nn.Linear(width, size.rank + size.turned, bias=False)
        self.kv_norm = WholeRMSNorm(size.rank, eps=1e-6)
        self.kv = nn.Linear(size.rank, config.heads * (size.plain + size.value), bias=False)
        self.out = nn.Linear(config.heads * size.value, width, bias=False)

    def shapes(self) -> list[tuple[int, ...]]:
        return [(self.sizes.rank + self.sizes.turned,)]

    def fields(self, x: Tensor, layout: Layout) -> Fields:
        c, k = parted(self.kv_latent(x), self.sizes.rank)
        k = k[:, :, None]  # one head, which all queries share
        k = self.positions.turn(k, k, layout.positions)[1][:, :, 0]
        return (torch.cat([normed(self.kv_norm, c), k], -1),)

    def queries(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """(B, T, H, plain) and (B, T, H, turned)."""
        q = self.q(normed(self.q_norm, self.q_latent(x))).unflatten(-1, (-1, self.head_dim))
        plain, turned = parted(q, self.sizes.plain)
        return plain, self.positions.turn(turned, turned, layout.positions)[0]

    def maps(self) -> tuple[Tensor, Tensor]:
        """Returns the maps from the latent to the keys (H, plain, rank) and values (H, value, rank) of every head."""
        both = self.kv.weight.view(-1, self.sizes.plain + self.sizes.value, self.sizes.rank)
        return both[:, : self.sizes.plain], both[:, self.sizes.plain :]

    def absorbed(self, plain: Tensor, turned: Tensor) -> Tensor:
        """Returns queries (B, T, H, rank + turned) that ask latents instead of keys: q^T (W c) = (W^T q)^T c."""
        return torch.cat([per_head(plain, self.maps()[0]), turned], -1)

    def answer(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        size, p = self.sizes, self.p if self.training else 0.0
        plain, turned = self.queries(x, layout)
        latent = seen.fields[0].to(plain.dtype)
        c, shared = parted(latent[:, :, None], size.rank)
        if self.asks_latents(x.shape[1], latent.shape[1]):
            q, scale = self.absorbed(plain, turned), self.head_dim**-0.5
            keys = latent[:, :, None]  # and values, whose last features nobody asks for: fused kernels want one size
            y = attend(q, keys, keys, seen.mask, causal=seen.causal, p=p, scale=scale)
            y = parted(y.view(q.shape), size.rank)[0]
            return self.out(per_head(y, self.maps()[1].mT).flatten(2))
        k, v = parted(self.kv(c[:, :, 0]).unflatten(-1, (-1, size.plain + size.value)), size.plain)
        k = torch.cat([k, shared.expand(-1, -1, k.shape[2], -1)], -1)
        return self.out(attend(torch.cat([plain, turned], -1), k, v, seen.mask, causal=seen.causal, p=p))

    def asks_latents(self, tokens: int, keys: int) -> bool:
        """Says whether queries taken to the latents need fewer products than latents made keys and values.

        They do when decoding, where few tokens ask many."""
        key_value = self.sizes.plain + self.sizes.value
        there, back = (
            2 * keys * self.sizes.rank + key_value * self.sizes.rank,
            key_value * self.sizes.rank + tokens * key_value,
        )
        return tokens * there < keys * back

    def weights(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        q = self.absorbed(*self.queries(x, layout))
        latent = seen.fields[0].to(q.dtype)[:, :, None].expand(-1, -1, q.shape[2], -1)
        return attending(product_scores(q, latent, self.head_dim**-0.5), mask_of(seen))


def per_head(x: Tensor, maps: Tensor) -> Tensor:
    """A map of its own for each head: (B, T, H, D), (H, D, E) -> (B, T, H, E)."""
    flat = x.flatten(0, 1)
    y = torch.einsum("nhd,hde->nhe", more(flat) if alike(x) else flat, maps.to(x.dtype))
    return y[: flat.shape[0]].view(*x.shape[:2], *y.shape[1:])


def parted(x: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Returns the first `size` features, and the others."""
    return x[..., :size], x[..., size:]


@dataclass(frozen=True, kw_only=True)
class LatentConfig(MixerConfig):
    """softmax([q; q^R]^T [W_K c; k^R]) W_V c, c = norm(W_C x) the whole memory.   DeepSeek-AI 2024, arXiv:2405.04434.

    c is the latent of a token, k^R a key that all heads share and that alone carries the position; only these two are
    kept.

    heads: how many.
    kv_rank: features of c (None: 4 size, as published).
    q_rank: features of a latent that queries are made of (None: they are made of x).
    size: features of a key and query without position (None: width / heads).
    rope_size: features of a key and query with position (None: size / 2, made even).
    value: features of a value (None: size).
    dropout: of attention weights.
    """

    kind: ClassVar[str] = "latent-attention"
    positions: ClassVar[frozenset[str]] = frozenset({"turn"})
    heads: int = 4
    kv_rank: int | None = None
    q_rank: int | None = None
    size: int | None = None
    rope_size: int | None = None
    value: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, heads=self.heads, kv_rank=self.kv_rank, q_rank=self.q_rank)
        require_at_least(1, size=self.size, rope_size=self.rope_size, value=self.value)
        require_probability(dropout=self.dropout)

    def sizes(self, width: int) -> Sizes:
        size = self.size or head_size(self.heads, width)
        return Sizes(size, self.rope_size or max(2, size // 4 * 2), self.value or size, self.kv_rank or 4 * size)

    def queries(self, width: int) -> Queries:
        return Queries(self.heads, self.sizes(width).turned)

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [
            cls(heads=4, size=4, rope_size=4, kv_rank=6),
            cls(heads=4, q_rank=5),
            cls(heads=3, size=5, rope_size=2, value=3, kv_rank=9),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return LatentAttention(self, width, positions)
