"""A convolutional network below the stack: the stem of a Transformer, or all that sees more than one place.

Tested in tests/model/test_pictures.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.embed.embedding import Embedding
from transduce.model.embed.pictures import PictureEmbedding, PictureEmbeddingConfig
from transduce.model.norms.norm import NormConfig
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles

GROUP = 8  # channels whose mean and deviation are taken together


class Conv(nn.Module):
    """A convolution of kernel by kernel pixels. weight: (outputs, inputs * kernel^2), a matrix to every optimiser."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs * kernel**2))
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.view(len(self.weight), -1, self.kernel, self.kernel)
        return F.conv2d(x, weight, stride=self.stride, padding=self.kernel // 2)


class Norm(nn.Module):
    """Normalises groups of channels of one picture, so that it does not depend on what else is in the batch.

    Wu & He 2018, arXiv:1803.08494.
    """

    roles: ClassVar[Roles] = {"weight": "gain", "bias": "shift"}

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = max(1, channels // GROUP) if channels % GROUP == 0 else 1
        self.weight, self.bias = nn.Parameter(torch.empty(channels)), nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.groups, self.weight, self.bias)


class Residual(nn.Module):
    """x + C relu(norm(C relu(norm(x)))).   He et al. 2016, arXiv:1603.05027, fig. 4 (e)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.first, self.second = (Conv(channels, channels, kernel, 1) for _ in range(2))
        self.before, self.between = (Norm(channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.between(self.first(self.before(x).relu())).relu())


class Convolutions(PictureEmbedding):
    """See `ConvolutionsConfig`."""

    def __init__(
        self, config: "ConvolutionsConfig", channels: int, width: int, positions: Positions, *, scale: float, p: float
    ) -> None:
        picture = config.sides()
        height, columns = picture
        for stride in config.strides:
            height, columns = -(-height // stride), -(-columns // stride)
        super().__init__(picture, (height, columns), width, positions, class_token=config.class_token, scale=scale, p=p)
        stages = list[nn.Module]()
        for inputs, outputs, stride in zip((channels, *config.widths), config.widths, config.strides, strict=False):
            stages.append(Conv(inputs, outputs, config.kernel, stride))
            if config.blocks:
                stages += [Residual(outputs, config.kernel) for _ in range(config.blocks)]
            else:
                stages += [Norm(outputs), nn.ReLU()]
        if config.blocks:
            stages += [Norm(config.widths[-1]), nn.ReLU()]
        self.stages = nn.Sequential(*stages)
        self.project = nn.Linear(config.widths[-1], width)

    def parts(self, pictures: Tensor) -> Tensor:
        x: Tensor = self.stages(pictures.to(self.project.weight.dtype))
        return self.project(x.flatten(2).mT)


@dataclass(frozen=True, kw_only=True)
class ConvolutionsConfig(PictureEmbeddingConfig):
    """Stages of convolutions, then W x + b of each place of what they give.

    Without blocks it is the stem of Xiao et al. 2021, arXiv:2106.14881, with norms of one picture. With blocks it is a
    residual network (He et al. 2016); under model.mixer=none nothing else moves information.

    widths: channels of each stage.
    strides: of the convolution that begins each stage.
    blocks: residual blocks of each stage, of two convolutions.
    kernel: pixels of the side of every convolution, an odd number.
    """

    kind: ClassVar[str] = "convolutions"
    widths: tuple[int, ...] = (32, 64)
    strides: tuple[int, ...] = (2, 2)
    blocks: int = 0
    kernel: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths or len(self.widths) != len(self.strides):
            what = f"widths={list(self.widths)} and strides={list(self.strides)}"
            raise UserError(f"{what} must have one number for each stage, such as [32, 64] and [2, 2]")
        require_at_least(1, widths=min(self.widths), strides=min(self.strides), kernel=self.kernel)
        require_at_least(0, blocks=self.blocks)
        if self.kernel % 2 == 0:
            raise UserError(f"kernel={self.kernel} has no middle; use {self.kernel + 1}")

    def build(
        self, vocab_size: int, width: int, norm: NormConfig, positions: Positions, *, scale: float, p: float,
        shared: Embedding | None = None,
    ) -> Embedding:  # fmt: skip
        self.require_own(shared)
        return Convolutions(self, vocab_size, width, positions, scale=scale, p=p)
