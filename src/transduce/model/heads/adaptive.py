"""Softmax in two steps: first the band of a token, then the token within it."""

from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.embed.adaptive import AdaptiveEmbedding, Bands, make_bands, require_cutoffs
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig, TokenHead, accurate, log_p
from transduce.model.norms.norm import NormConfig
from transduce.model.ops.loss import cross_entropy


class AdaptiveHead(TokenHead):
    """See `AdaptiveHeadConfig`. clusters: (n - 1, d_0), one row a band but the first. own: maps that are not tied."""

    def __init__(self, bands: Bands, own: dict[int, nn.Parameter], bias: bool) -> None:
        super().__init__()
        self.size, self.bands = sum(bands.sizes), bands
        self.edges = list(accumulate(bands.sizes))[:-1]
        self.maps = nn.ParameterDict({str(i): x for i, x in own.items()})
        self.clusters = nn.Parameter(torch.empty(len(self.edges), bands.tables[0].shape[1]))
        self.clusters_bias = nn.Parameter(torch.empty(len(self.edges))) if bias else None
        self.bias = nn.Parameter(torch.empty(self.size)) if bias else None

    def before(self, hidden: Tensor, band: int) -> Tensor:
        """Returns what meets the table of a band: (..., M) -> (..., d_i)."""
        matrix = self.maps[str(band)] if str(band) in self.maps else self.bands.map(band)
        return hidden if matrix is None else hidden @ matrix.to(hidden.dtype)

    def rows(self, band: int) -> tuple[Tensor, Tensor | None]:
        """Returns the matrix and bias of a band's logits; those of the first go on with those of the other bands."""
        weight = self.bands.tables[band]
        bias = None if self.bias is None else torch.split(self.bias, self.bands.sizes)[band]
        if band:
            return weight, bias
        both = None if bias is None or self.clusters_bias is None else torch.cat([bias, self.clusters_bias])
        return torch.cat([weight, self.clusters]), both

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., M) -> (..., V): log-probabilities, which are logits whose exponentials sum to 1."""
        first, *tails = (
            accurate(F.linear(self.before(hidden, i), *self.rows(i))).log_softmax(-1)
            for i in range(len(self.bands.sizes))
        )
        head, *clusters = torch.split(first, [self.bands.sizes[0], *(1 for _ in tails)], -1)
        return torch.cat([head, *(c + tail for c, tail in zip(clusters, tails, strict=True))], -1)

    def loss(
        self, hidden: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Looks only into the bands that targets are in. Smoothing asks for all tokens, some rows at a time."""
        if smoothing:
            return super().loss(hidden, targets, smoothing, weights)
        inner, tails = self.by_band(targets)
        total, nll = self.band_loss(hidden, inner, 0, weights)
        for i, (inside, inner) in enumerate(tails, 1):
            w = None if weights is None else weights.index_select(0, inside)
            more = self.band_loss(hidden.index_select(0, inside), inner, i, w)
            total, nll = total + more[0], nll + more[1]
        return total, nll

    def log_p(self, hidden: Tensor, targets: Tensor) -> Tensor:
        inner, tails = self.by_band(targets)
        total = self.band_log_p(hidden, inner, 0)
        for i, (inside, inner) in enumerate(tails, 1):
            total = total.index_add(0, inside, self.band_log_p(hidden.index_select(0, inside), inner, i))
        return total

    def by_band(self, targets: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Returns the target (S,) of each row in the first band, and of each other band its rows and their targets."""
        band = torch.stack([targets >= edge for edge in self.edges]).sum(0)
        tails = list[tuple[Tensor, Tensor]]()
        for i, edge in enumerate(self.edges, 1):
            inside = (band == i).nonzero()[:, 0]
            tails.append((inside, targets.index_select(0, inside) - edge))
        return torch.where(band == 0, targets, self.edges[0] - 1 + band), tails

    def band_loss(
        self, hidden: Tensor, targets: Tensor, band: int, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        x, (weight, bias) = self.before(hidden, band), self.rows(band)
        if bias is not None:  # W x + b = (W, b) (x, 1)
            x, weight = torch.cat([x, torch.ones_like(x[:, :1])], 1), torch.cat([weight, bias[:, None]], 1)
        return cross_entropy(x, weight, targets, weights=weights)

    def band_log_p(self, hidden: Tensor, targets: Tensor, band: int) -> Tensor:
        weight, bias = self.rows(band)
        return log_p(lambda x: F.linear(self.before(x, band), weight, bias), hidden, targets, weight.shape[0])


@dataclass(frozen=True, kw_only=True)
class AdaptiveHeadConfig(HeadConfig):
    """log p(band) + log p(token | band), bands of rarer tokens with fewer features.   Grave et al. 2016.

    arXiv:1609.04309. The first band has no step of its own: its tokens stand beside the other bands (sec. 4.3). Tied to
    embedding=adaptive, the tables and maps of that are used, and its options may be left out here.

    cutoffs: the first token of each band but the first one.
    div: how many times fewer features each band has than the one before.
    map_all: also a band as wide as the model has a map (None: if div is above 1).
    own_maps: the first so many bands have maps of their own although tied (Transformer-XL).
    bias: of tokens and bands.
    """

    kind: ClassVar[str] = "adaptive"
    cutoffs: tuple[int, ...] = ()
    div: int = 4
    map_all: bool | None = None
    own_maps: int = 0
    bias: bool = False

    def __post_init__(self) -> None:
        require_cutoffs(self.cutoffs, self.div)
        require_at_least(0, own_maps=self.own_maps)

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        if tied is None:
            if not self.cutoffs:
                raise UserError("head=adaptive has no cutoffs; give model.head.cutoffs, or tie it to such an embedding")
            return AdaptiveHead(make_bands(vocab_size, width, self.cutoffs, self.div, self.map_all), {}, self.bias)
        if not isinstance(tied, AdaptiveEmbedding):
            raise UserError("head=adaptive can be tied to embedding=adaptive only; set tie_embeddings to none or false")
        bands = tied.bands
        edges = list(accumulate(bands.sizes))[:-1]
        if self.cutoffs and list(self.cutoffs) != edges:
            raise UserError(
                f"head.cutoffs={list(self.cutoffs)} differ from those of the embedding, {edges}; leave them out"
            )
        if self.own_maps > len(bands.sizes):
            raise UserError(f"own_maps={self.own_maps}, but there are {len(bands.sizes)} bands")
        own = {i: nn.Parameter(torch.empty(width, bands.tables[i].shape[1])) for i in range(self.own_maps)}
        return AdaptiveHead(bands, own, self.bias)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(cutoffs=(5, 9, 16), div=2), cls(cutoffs=(4,), div=1, bias=True, map_all=True)]
