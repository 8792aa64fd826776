"""The contract of embeddings of pictures: (B, C, H, W) numbers to vectors in rows, from the top left.

Tested in tests/model/test_pictures.py.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.embed.embedding import Embedding, EmbeddingConfig
from transduce.model.layout import Grid, Layout
from transduce.model.ops.dropout import dropout
from transduce.model.positions.grid import OnGrid
from transduce.model.positions.position import Positions


class PictureEmbedding(Embedding):
    """Vectors of the parts of a picture, row by row, behind a class token if it has one.

    A picture is one slot of the layout that it comes with; `arrange` gives the slots of its parts, and their `grid`.
    picture: its height and width in pixels. shape: rows and columns of its parts.
    """

    counts_inputs = False

    def __init__(
        self, picture: tuple[int, int], shape: tuple[int, int], width: int, positions: Positions, *, class_token: bool,
        scale: float, p: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.picture, self.shape, self.positions, self.scale, self.p = picture, shape, positions, scale, p
        self.first = nn.Parameter(torch.empty(width)) if class_token else None
        slots = shape[0] * shape[1] + class_token
        if positions.limit is not None and slots > positions.limit:
            rows = f"a picture of {picture[0]} by {picture[1]} pixels has {slots} slots"
            raise UserError(f"{rows}, but there are {positions.limit} positions; set model.positions.limit={slots}")
        if isinstance(positions, OnGrid) and max(shape) > (most := positions.side):
            what = f"a picture of {picture[0]} by {picture[1]} pixels has {shape[0]} rows and {shape[1]} columns"
            raise UserError(f"{what}, but there are {most} positions of each; set model.positions.limit={max(shape)}")

    @abstractmethod
    def parts(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, rows * columns, M)."""

    def start(self) -> dict[str, Callable[[Tensor, Generator], object]]:
        return {} if self.first is None else {"first": lambda w, g: nn.init.normal_(w, std=0.02, generator=g)}

    def forward(self, ids: Tensor, layout: Layout) -> Tensor:
        if ids.shape[2:] != self.picture:
            sizes = [f"{h} by {w}" for h, w in (ids.shape[2:], self.picture)]
            raise UserError(f"the pictures have {sizes[0]} pixels, but this model reads {sizes[1]}; resize them")
        x = self.parts(ids) * self.scale
        if self.first is not None:
            x = torch.cat([self.first.to(x.dtype).expand(len(x), 1, -1), x], 1)
        return dropout(self.positions.add_to(x, self.arrange(layout)), self.p, self.training)

    def arrange(self, layout: Layout) -> Layout:
        batch, device, before = layout.positions.shape[0], layout.positions.device, int(self.first is not None)
        number = torch.arange(-before, self.shape[0] * self.shape[1], device=device)
        rows, columns = torch.where(number < 0, -1, number // self.shape[1]), number % self.shape[1]
        columns = torch.where(number < 0, -1, columns)
        some = (number + before).expand(batch, -1)
        return Layout(some, grid=Grid(rows.expand(batch, -1), columns.expand(batch, -1)))


@dataclass(frozen=True, kw_only=True)
class PictureEmbeddingConfig(EmbeddingConfig):
    """The keys that embeddings of pictures share.

    picture: height and width of a picture in pixels (None: those of the data).
    class_token: whether a learned vector stands before the parts of the picture, from which pool=first makes a
        prediction.
    """

    picture: tuple[int, ...] | None = None
    class_token: bool = False

    def __post_init__(self) -> None:
        if self.picture is not None:
            if len(self.picture) != 2:
                raise UserError(f"picture={list(self.picture)} is not a height and a width, such as [28, 28]")
            require_at_least(1, picture=min(self.picture))

    def sides(self) -> tuple[int, int]:
        """Returns height and width. Raises UserError where the data did not say."""
        if self.picture is None:
            what = f"embedding={self.kind} does not know how large pictures are"
            raise UserError(f"{what}; set model.embedding.picture, such as [28, 28]")
        return self.picture[0], self.picture[1]

    def require_own(self, shared: Embedding | None) -> None:
        """Raises UserError where another embedding's table is to be used."""
        if shared is not None:
            raise UserError(f"embedding={self.kind} has no table to share; set model.tie_embeddings=none")
