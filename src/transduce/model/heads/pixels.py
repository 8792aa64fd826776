"""The head that predicts a picture: the pixels of every patch, put together.

Tested in tests/model/test_pixels.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig, accurate
from transduce.model.init.init import Initialiser, constant
from transduce.model.layout import Layout
from transduce.model.norms.norm import NormConfig


class PixelsHead(Head):
    """See `PixelsHeadConfig`. output: (M -> C * patch^2), channel by channel, row by row.

    The patches are the last slots of a row, behind a class token if there is one.
    """

    per = "row"

    def __init__(self, width: int, channels: int, rows: int, columns: int, patch: int) -> None:
        super().__init__()
        self.grid, self.size = (channels, rows, columns, patch), channels * rows * columns * patch**2
        self.output = nn.Linear(width, channels * patch**2)

    def start(self) -> dict[str, Initialiser]:
        return {"output.weight": constant(0.0), "output.bias": constant(0.0)}

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        channels, rows, columns, patch = self.grid
        x = hidden[:, hidden.shape[1] - rows * columns :].to(self.output.weight.dtype)
        x = self.output(x).view(-1, rows, columns, channels, patch, patch)
        return accurate(x.permute(0, 3, 1, 4, 2, 5).flatten(1))


@dataclass(frozen=True, kw_only=True)
class PixelsHeadConfig(HeadConfig):
    """W h + b of each patch, which are its pixels; at first 0.   Peebles & Xie 2022, arXiv:2212.09748, sec. 3.2.

    A row gives C * H * W numbers, channel by channel, row by row.

    picture: height and width in pixels (None: those of the data).
    patch: pixels of the side of a patch (None: as the embedding has it).
    channels: numbers of a pixel (None: those of the data).
    """

    kind: ClassVar[str] = "pixels"
    picture: tuple[int, ...] | None = None
    patch: int | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.picture is not None and len(self.picture) != 2:
            raise UserError(f"picture={list(self.picture)} is not a height and a width, such as [28, 28]")
        require_at_least(1, patch=self.patch, channels=self.channels, picture=min(self.picture or (1,)))

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        if self.picture is None or self.patch is None:
            what = f"head={self.kind} does not know how large pictures and patches are"
            raise UserError(f"{what}; set model.head.picture, such as [28, 28], and model.head.patch")
        height, width_, patch = *self.picture, self.patch
        if height % patch or width_ % patch:
            raise UserError(
                f"pictures of {height} x {width_} pixels are not whole patches of {patch}; use another patch"
            )
        return PixelsHead(width, self.channels or vocab_size, height // patch, width_ // patch, patch)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(picture=(2, 2), patch=2, channels=3), cls(picture=(3, 3), patch=3, channels=1)]
