"""One vector per patch of a picture.

Tested in tests/model/test_pictures.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.embed.embedding import Embedding
from transduce.model.embed.pictures import PictureEmbedding, PictureEmbeddingConfig
from transduce.model.norms.norm import NormConfig
from transduce.model.positions.position import Positions

LARGEST = 16  # pixels of the side of a patch that follows from the picture
SIDES = 7  # patches that a picture has on its shorter side, at least, where that follows


class Patches(PictureEmbedding):
    """See `PatchesConfig`. project: (C * patch^2 -> M), whose inputs are channel by channel, row by row."""

    def __init__(
        self, config: "PatchesConfig", channels: int, width: int, norm: NormConfig, positions: Positions,
        *, scale: float, p: float,
    ) -> None:  # fmt: skip
        picture = config.sides()
        patch, stride = config.pixels(picture)
        shape = ((picture[0] - patch) // stride + 1, (picture[1] - patch) // stride + 1)
        super().__init__(picture, shape, width, positions, class_token=config.class_token, scale=scale, p=p)
        self.patch, self.stride = patch, stride
        self.before = norm.build(channels * patch**2) if config.norm else None
        self.project = nn.Linear(channels * patch**2, width, bias=config.bias)
        self.norm = norm.build(width) if config.norm else None

    def parts(self, pictures: Tensor) -> Tensor:
        x = self.cut(pictures.to(self.project.weight.dtype))
        x = self.project(x if self.before is None else self.before(x))
        return x if self.norm is None else self.norm(x)

    def cut(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, rows * columns, C * patch^2)."""
        if self.stride != self.patch:
            return F.unfold(pictures, self.patch, stride=self.stride).mT
        batch, channels = pictures.shape[:2]
        cells = pictures.reshape(batch, channels, self.shape[0], self.patch, self.shape[1], self.patch)
        return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * self.patch**2)


@dataclass(frozen=True, kw_only=True)
class PatchesConfig(PictureEmbeddingConfig):
    """W [pixels of the patch] + b, row by row.   Dosovitskiy et al. 2020, arXiv:2010.11929, eq. 1.

    patch: pixels of the side of a patch (None: the largest up to 16 that parts the picture without a rest, into seven
        rows and columns or more).
    stride: pixels from one patch to the next (None: `patch`); fewer let them overlap.
    bias: whether W has one.
    norm: the model's norm stands before and behind W (Beyer et al. 2022, arXiv:2205.01580; SimpleViT).
    """

    kind: ClassVar[str] = "patches"
    patch: int | None = None
    stride: int | None = None
    bias: bool = True
    norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, patch=self.patch, stride=self.stride)
        if self.patch is not None and self.stride is not None and self.stride > self.patch:
            raise UserError(f"stride={self.stride} leaves out pixels between patches of {self.patch}; use it at most")
        if self.picture is not None:
            self.pixels(self.sides())

    def pixels(self, picture: tuple[int, int]) -> tuple[int, int]:
        """Returns patch and stride for a picture. Raises UserError where its last pixels would be in no patch."""
        patch = self.patch or suited(picture)
        stride = self.stride or patch
        for name, side in zip(("height", "width"), picture, strict=True):
            if side < patch or (side - patch) % stride:
                near = max((patch + stride * round((side - patch) / stride)), patch)
                what = f"pictures of {name} {side} are not whole patches of {patch} pixels, {stride} apart"
                raise UserError(f"{what}; use another patch, or pictures of {near} pixels (task.pixels={near})")
        return patch, stride

    def build(
        self, vocab_size: int, width: int, norm: NormConfig, positions: Positions, *, scale: float, p: float,
        shared: Embedding | None = None,
    ) -> Embedding:  # fmt: skip
        self.require_own(shared)
        return Patches(self, vocab_size, width, norm, positions, scale=scale, p=p)


def suited(picture: tuple[int, int]) -> int:
    """Returns the side of a patch: the largest up to 16 that parts both sides into `SIDES` or more, else into any."""
    fits = [n for n in range(1, LARGEST + 1) if picture[0] % n == picture[1] % n == 0]
    return max((n for n in fits if min(picture) // n >= SIDES), default=1)
