"""Convolutions over the frames of a sound: the stem of a Transformer that hears.

Tested in tests/model/test_frames.py.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.embed.embedding import Embedding, EmbeddingConfig
from transduce.model.layout import Layout, dense, documents, right_padded
from transduce.model.norms.norm import NormConfig
from transduce.model.ops.dropout import dropout
from transduce.model.ops.rows import linear
from transduce.model.positions.position import Positions


class Frames(Embedding):
    """See `FramesConfig`. stages: (K * inputs -> M) each, whose inputs are frame by frame."""

    counts_inputs = False

    def __init__(
        self, config: "FramesConfig", features: int, width: int, positions: Positions, *, scale: float, p: float
    ) -> None:
        super().__init__()
        self.kernel, self.strides = config.kernel, config.strides
        self.positions, self.scale, self.p = positions, scale, p
        inputs = (features, *[width] * (len(config.strides) - 1))
        self.stages = nn.ModuleList(nn.Linear(self.kernel * n, width) for n in inputs)

    @property
    def stride(self) -> int:
        """Returns how many frames become one vector."""
        return prod(self.strides)

    def forward(self, ids: Tensor, layout: Layout) -> Tensor:
        arranged = self.arrange(layout)
        self.require_room(arranged, ids.shape[1])
        if layout.segments is None:
            x = self.convolved(ids, layout)
        else:
            here = documents(layout)
            x = documents(arranged).join(self.convolved(here.split(ids), here.layout))
        return dropout(self.positions.add_to(x * self.scale, arranged), self.p, self.training)

    def convolved(self, frames: Tensor, layout: Layout) -> Tensor:
        """(B, T, F) -> (B, ceil(T / stride), M), rows of one sound each; what is no frame is 0 to every stage."""
        dtype = next((p.dtype for p in self.parameters()), torch.float32)  # none, where maps are read in fewer bits
        x, valid = frames.to(dtype), layout.valid if layout.padded else None
        for stage, stride in zip(self.stages, self.strides, strict=True):
            if valid is not None:
                x = x.masked_fill(~valid[..., None], 0.0)
                valid = valid[:, ::stride]
            x = self.around(x, stride)
            x = F.gelu(linear(x, stage.weight, stage.bias) if isinstance(stage, nn.Linear) else stage(x))
        return x

    def around(self, x: Tensor, stride: int) -> Tensor:
        """(B, T, C) -> (B, ceil(T / stride), K * C): every stride-th frame with those beside it, zeros at the ends."""
        ahead, last = self.kernel // 2, (x.shape[1] - 1) // stride * stride
        wide = F.pad(x, (0, 0, ahead, ahead))
        return torch.cat([wide[:, tap : tap + last + 1 : stride] for tap in range(self.kernel)], -1)

    def arrange(self, layout: Layout) -> Layout:
        """Returns ceil(n / stride) slots for n frames. Of packed rows it looks at the data, so a GPU waits."""
        rows, slots = layout.positions.shape
        count, device = -(-slots // self.stride), layout.positions.device
        if layout.segments is not None:
            return strided(layout, self.stride)
        if layout.lengths is not None:
            return right_padded(-(-layout.lengths // self.stride), count)
        return dense(rows, count, device=device)

    def require_room(self, arranged: Layout, frames: int) -> None:
        """Raises UserError where there are more slots than positions."""
        limit, slots = self.positions.limit, arranged.positions.shape[1]
        if limit is not None and slots > limit and int(arranged.positions.max()) >= limit:
            what = f"a sound of {frames:,} frames has {slots:,} slots, but there are {limit:,} positions"
            raise UserError(f"{what}; set model.positions.limit={slots}, or cut it into parts")


def strided(layout: Layout, stride: int) -> Layout:
    """Returns every stride-th slot of each document, side by side, then padding."""
    assert layout.segments is not None
    stays = layout.valid & (layout.positions % stride == 0)
    order = (~stays).long().argsort(dim=1, stable=True)[:, : int(stays.sum(1).max())]
    positions = layout.positions.gather(1, order).div(stride, rounding_mode="floor")
    return Layout(positions.where(stays.gather(1, order), -1), layout.segments.gather(1, order))


@dataclass(frozen=True, kw_only=True)
class FramesConfig(EmbeddingConfig):
    """gelu(W [frames around] + b), stage after stage, then positions.   Radford et al. 2022, arXiv:2212.04356.

    A sound padded or packed gives what it gives alone: there is no norm over time.
    strides: of each stage; their product is how many frames become one vector.
    kernel: frames that a stage looks at, an odd number.
    """

    kind: ClassVar[str] = "frames"
    strides: tuple[int, ...] = (1, 2)
    kernel: int = 3

    def __post_init__(self) -> None:
        if not self.strides:
            raise UserError("strides is empty, so frames become no vectors; use [1, 2]")
        require_at_least(1, strides=min(self.strides), kernel=self.kernel)
        if self.kernel % 2 == 0:
            raise UserError(f"kernel={self.kernel} has no middle; use {self.kernel + 1}")

    def build(
        self, vocab_size: int, width: int, norm: NormConfig, positions: Positions, *, scale: float, p: float,
        shared: Embedding | None = None,
    ) -> Embedding:  # fmt: skip
        if shared is not None:
            raise UserError("embedding=frames has no table to share; set model.tie_embeddings=none")
        return Frames(self, vocab_size, width, positions, scale=scale, p=p)
