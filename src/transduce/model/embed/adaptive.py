"""Tables that are narrower for rarer tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.embed.embedding import Embedding, EmbeddingConfig
from transduce.model.layout import Layout
from transduce.model.norms.norm import NormConfig
from transduce.model.ops.dropout import dropout
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles


class Bands(nn.Module):
    """Tokens 0..V-1 in bands: the tables (v_i, d_i) of each, and the maps (M, d_i) between them and the width.

    A band whose map is missing is as wide as the model.
    """

    def __init__(self, tables: Sequence[nn.Parameter], maps: dict[int, nn.Parameter]) -> None:
        super().__init__()
        self.tables = nn.ParameterList(tables)
        self.maps = nn.ParameterDict({str(i): x for i, x in maps.items()})
        self.sizes = [table.shape[0] for table in tables]

    @property
    def roles(self) -> Roles:
        return {f"tables.{i}": "lookup" for i in range(len(self.sizes))}

    def map(self, band: int) -> Tensor | None:
        return of(self.maps, band)

    def start(self) -> dict[str, Callable[[Tensor, Generator], object]]:
        """Returns N(0, 1 / d_i) for each table, as in the published code: what a map makes of it has one size."""

        def draw(w: Tensor, g: Generator) -> None:
            nn.init.normal_(w, std=w.shape[1] ** -0.5, generator=g)

        return {f"tables.{i}": draw for i in range(len(self.sizes))}


def of(maps: nn.ParameterDict, band: int) -> Tensor | None:
    return maps[str(band)] if str(band) in maps else None  # noqa: SIM401


def make_bands(vocab_size: int, width: int, cutoffs: Sequence[int], div: int, map_all: bool | None) -> Bands:
    """Returns bands without start values. Raises UserError if the vocabulary ends before the last cutoff."""
    if cutoffs[-1] >= vocab_size:
        raise UserError(
            f"cutoffs={list(cutoffs)} leave nothing to the last band of {vocab_size} tokens; leave some out"
        )
    edges, always = [0, *cutoffs, vocab_size], div > 1 if map_all is None else map_all
    widths = [max(1, width // div**i) for i in range(len(edges) - 1)]
    tables = [nn.Parameter(torch.empty(b - a, d)) for a, b, d in zip(edges, edges[1:], widths, strict=False)]
    maps = {i: nn.Parameter(torch.empty(width, d)) for i, d in enumerate(widths) if always or d != width}
    return Bands(tables, maps)


def require_cutoffs(cutoffs: Sequence[int], div: int) -> None:
    """Raises UserError unless cutoffs rise from above 0."""
    require_at_least(1, div=div)
    if any(b <= a for a, b in zip((0, *cutoffs), cutoffs, strict=False)):
        raise UserError(f"cutoffs={list(cutoffs)} must rise, and the first be above 0, as in [20000, 60000]")


class AdaptiveEmbedding(Embedding):
    """See `AdaptiveEmbeddingConfig`."""

    def __init__(self, bands: Bands, positions: Positions, *, scale: float, p: float) -> None:
        super().__init__()
        self.bands, self.positions, self.scale, self.p = bands, positions, scale, p

    def forward(self, ids: Tensor, layout: Layout) -> Tensor:
        x = self.positions.add(self.tokens(ids) * self.scale, layout.place)
        return dropout(self.positions.inside(x, layout.inner), self.p, self.training)

    def tokens(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, M). Every band looks at every token, and gives zeros outside its own: since bands grow
        narrow quickly this costs little, and no shape depends on the data."""
        total, first = None, 0
        for i, table in enumerate(self.bands.tables):
            inside = (ids >= first) & (ids < first + table.shape[0])
            e = F.embedding((ids - first).clamp(0, table.shape[0] - 1), table) * inside[..., None]
            to_width = self.bands.map(i)
            e = e if to_width is None else e @ to_width.mT
            total, first = e if total is None else total + e, first + table.shape[0]
        assert total is not None
        return total


@dataclass(frozen=True, kw_only=True)
class AdaptiveEmbeddingConfig(EmbeddingConfig):
    """scale W_i E_i[token]: band i of the tokens, ordered by frequency, has d_i = width / div^i features.

    Baevski & Auli 2018, arXiv:1809.10853, sec. 3.1.

    cutoffs: the first token of each band but the first one.
    div: how many times fewer features each band has than the one before.
    map_all: also a band as wide as the model has a map W_i (None: if div is above 1, as in the published code of
        Transformer-XL).
    """

    kind: ClassVar[str] = "adaptive"
    cutoffs: tuple[int, ...] = (20_000, 60_000)
    div: int = 4
    map_all: bool | None = None

    def __post_init__(self) -> None:
        require_cutoffs(self.cutoffs, self.div)
        if not self.cutoffs:
            raise UserError("embedding=adaptive without cutoffs is one band; use embedding=table")

    def build(
        self, vocab_size: int, width: int, norm: NormConfig, positions: Positions, *, scale: float, p: float,
        shared: Embedding | None = None,
    ) -> Embedding:  # fmt: skip
        if shared is not None:
            if not isinstance(shared, AdaptiveEmbedding):
                raise UserError(
                    "an adaptive embedding has several tables, and the other side has one, which it cannot share; "
                    "choose the same embedding for both, or set model.tie_embeddings=none"
                )
            bands = shared.bands
        else:
            bands = make_bands(vocab_size, width, self.cutoffs, self.div, self.map_all)
        return AdaptiveEmbedding(bands, positions, scale=scale, p=p)
