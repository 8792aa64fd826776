"""The head that gives a vector of length 1 in a space that others share, and learns how near is near.

Tested in tests/model/test_towers.py.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig
from transduce.model.heads.pooled import RowHead, RowHeadConfig
from transduce.model.layout import Layout
from transduce.model.norms.norm import NormConfig

MOST = math.log(100.0)  # of the logarithm of the scale (Radford et al. 2021, sec. 2.5)


class Joint(RowHead):
    """See `JointHeadConfig`. log_scale, offset: scalars, or None."""

    def __init__(self, config: "JointHeadConfig", width: int) -> None:
        super().__init__(config, width, config.features or width)
        self.start_at = config
        self.log_scale = None if config.scale is None else nn.Parameter(torch.empty(()))
        self.offset = None if config.offset is None else nn.Parameter(torch.empty(()))

    def start(self) -> dict[str, Callable[[Tensor, Generator], object]]:
        scale, offset = self.start_at.scale, self.start_at.offset
        own: dict[str, Callable[[Tensor, Generator], object]] = {}
        if scale is not None:
            own["log_scale"] = lambda w, g: nn.init.constant_(w, math.log(scale))
        if offset is not None:
            own["offset"] = lambda w, g: nn.init.constant_(w, offset)
        return own

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        return F.normalize(super().forward(hidden, layout), dim=-1)

    def scores(self, u: Tensor, v: Tensor) -> Tensor:
        """Returns exp(s) u v^T + b of vectors (N, F) and (K, F): (N, K). exp(s) is at most 100."""
        cosines = u @ v.T
        if self.log_scale is not None:
            cosines = cosines * self.log_scale.to(u.dtype).clamp(max=MOST).exp()
        return cosines if self.offset is None else cosines + self.offset.to(u.dtype)


@dataclass(frozen=True, kw_only=True)
class JointHeadConfig(RowHeadConfig):
    """W x of the pooled vector x, at length 1, in a space that others share: the embedding of CLIP.

    Two such vectors have the logit exp(s) u . v + b, with learned s and b.   Radford et al. 2021, arXiv:2103.00020,
    fig. 3; with b Zhai et al. 2023, arXiv:2303.15343, alg. 1.

    features: of that vector (None: the width).
    scale: what exp(s) is at the start (None: it is 1 and not learned).
    offset: what b is at the start (None: there is none).
    """

    kind: ClassVar[str] = "joint"
    bias: bool = False
    features: int | None = None
    scale: float | None = 1 / 0.07
    offset: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, features=self.features)
        if self.scale is not None and not 0 < self.scale <= 100:
            raise UserError(f"scale={self.scale} must be more than 0 and at most 100; use 14.3, as CLIP does")

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        return Joint(self, width)

    def beside(self) -> "JointHeadConfig":
        """Returns the head of another tower, which has neither scale nor offset, since there is one of each."""
        return replace(self, scale=None, offset=None)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(features=5, pool=("last",), offset=-10.0)]
