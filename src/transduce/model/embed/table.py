"""One vector per token.

Tested in tests/model/test_heads.py.
"""

from collections.abc import Callable
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


class Table(Embedding):
    """See `TableConfig`. weight: (V, E). types: (types, E), or None."""

    roles: ClassVar[Roles] = {"weight": "table", "types": "lookup", "project.weight": "widen"}

    def __init__(
        self, config: "TableConfig", weight: nn.Parameter, width: int, norm: NormConfig, positions: Positions,
        *, scale: float, p: float,
    ) -> None:  # fmt: skip
        super().__init__()
        size = weight.shape[1]
        inner = width if config.project_first else size
        self.weight, self.positions, self.scale, self.p = weight, positions, scale, p
        self.project_first, self.norm_last, self.round_scale = (
            config.project_first,
            config.norm_last,
            config.round_scale,
        )
        self.types = nn.Parameter(torch.empty(config.types, inner)) if config.types else None
        self.blank = nn.Parameter(torch.empty(width)) if config.blank else None
        self.norm = norm.build(width if config.norm_last else inner) if config.norm else None
        self.project = None if size == width else nn.Linear(size, width, bias=config.bias)

    def start(self) -> dict[str, Callable[[Tensor, Generator], object]]:
        return {} if self.blank is None else {"blank": lambda w, g: nn.init.normal_(w, std=0.02, generator=g)}

    def forward(self, ids: Tensor, layout: Layout) -> Tensor:
        x = F.embedding(ids, self.weight)
        x = x * (x.new_full((), self.scale) if self.round_scale else self.scale) if self.scale != 1.0 else x
        x = self.project(x) if self.project is not None and self.project_first else x
        if self.types is not None:
            x = x + (self.types[0] if layout.types is None else F.embedding(layout.types, self.types))
        x = self.positions.inside(self.positions.add(x, layout.place), layout.inner)
        x = self.project(x) if self.project is not None and self.norm_last else x
        x = dropout(x if self.norm is None else self.norm(x), self.p, self.training)
        return self.project(x) if self.project is not None and not (self.project_first or self.norm_last) else x


@dataclass(frozen=True, kw_only=True)
class TableConfig(EmbeddingConfig):
    """dropout(norm(scale E[token] + U[type] + positions)).   Vaswani et al. 2017; Devlin et al. 2018, fig. 2.

    Fewer features than the width are brought to it by a linear map behind all of this (Lan et al. 2020,
    arXiv:1909.11942, sec. 3.1).

    size: features of E (None: the width).
    bias: of the linear map to the width.
    project_first: the linear map stands before types and positions are added.
    types: rows of U, one for each kind of token, such as those of the first and of the second sentence; 0: it has no U.
    norm: whether the model's norm stands there.
    norm_last: the norm stands behind the linear map (DeBERTa).
    round_scale: the scale is rounded to the precision of E before it multiplies (Gemma).
    blank: whether there is a vector (M,) that stands where a token is to be predicted, for objective=permutation
        (XLNet).
    """

    kind: ClassVar[str] = "table"
    size: int | None = None
    bias: bool = True
    project_first: bool = False
    types: int = 0
    norm: bool = False
    norm_last: bool = False
    round_scale: bool = False
    blank: bool = False

    def __post_init__(self) -> None:
        require_at_least(1, size=self.size)
        require_at_least(0, types=self.types)
        if self.norm_last and (self.project_first or not self.norm):
            raise UserError("norm_last says where the norm of vectors that are projected last stands; set norm=true")

    def build(
        self, vocab_size: int, width: int, norm: NormConfig, positions: Positions, *, scale: float, p: float,
        shared: Embedding | None = None,
    ) -> Embedding:  # fmt: skip
        if shared is not None:
            assert isinstance(shared, Table)
            weight = shared.weight
        else:
            weight = nn.Parameter(torch.empty(vocab_size, self.size or width))
        return Table(self, weight, width, norm, positions, scale=scale, p=p)

    def added_at(self, width: int) -> int:
        return width if self.project_first else self.size or width
