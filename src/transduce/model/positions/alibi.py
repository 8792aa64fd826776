"""Linear biases of distance.

Tested in tests/model/test_positions.py.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.positions.position import Positions, PositionsConfig, Queries, distances


def slopes(heads: int) -> Tensor:
    """(H,) float32: 2^(-8 h / H), h = 1..H, for a power of two; else those of the largest power of two below, then
    every second one of the next power of two, as in the published code.   Press et al. 2022, sec. 3."""
    below = 2 ** int(math.log2(heads))
    exponents = [-8 * h / below for h in range(1, below + 1)]
    exponents += [-4 * h / below for h in range(1, 2 * (heads - below), 2)]
    return 2.0 ** torch.tensor(exponents, dtype=torch.float64).float()


class Alibi(Positions):
    by_head = True
    slopes: Tensor

    def __init__(self, heads: int, scale: float = 1.0, rounded: bool = False) -> None:
        super().__init__()
        self.scale, self.rounded = scale, rounded
        self.register_buffer("slopes", slopes(heads), persistent=False)

    def for_stack(self, causal: bool) -> Positions:
        if self.rounded and not causal:
            raise UserError("alibi with rounded=true is for decoders, where no key lies ahead; leave out rounded")
        return self

    def bias(self, q: Tensor, at: Tensor | None, keys: Tensor | None, causal: bool = False) -> Tensor:
        if at is None or keys is None:
            at = keys = torch.arange(q.shape[1], device=q.device)[None]
        if self.rounded:  # softmax does not see what all keys of a query share, so j may stand for j - i
            places = self.slopes.bfloat16()[:, None, None] * keys[:, None, None].bfloat16()
            return self.scale * places.float().expand(-1, -1, at.shape[1], -1)
        return -self.scale * self.slopes[:, None, None] * distances(at, keys).abs()[:, None]


@dataclass(frozen=True, kw_only=True)
class AlibiConfig(PositionsConfig):
    """Scores less slope_h |i - j|, the slopes fixed, one per head.   Press et al. 2022, arXiv:2108.12409.

    The paper is causal, j <= i; in an encoder what lies ahead is as far as what lies behind. Falcon has both options.

    scaled: by D^-1/2, as scores are.
    rounded: slopes, and slope_h j, are rounded to bfloat16, whatever the rest is in, as models trained so want it;
        causal only.
    """

    kind: ClassVar[str] = "alibi"
    acts = "bias"
    scaled: bool = False
    rounded: bool = False

    def build(self, width: int, queries: Queries | None) -> Positions:
        assert queries is not None
        return Alibi(queries.heads, queries.head_dim**-0.5 if self.scaled else 1.0, self.rounded)

    @classmethod
    def examples(cls) -> list[PositionsConfig]:
        return [cls(), cls(scaled=True)]
