"""Luong's attention: three scores, and the answer joined to the question."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from transduce.errors import require_probability
from transduce.model.cache import Fields, Seen
from transduce.model.layout import Layout
from transduce.model.mixers.lookup import Lookup, mask_of, mean
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.scores import additive_scores, attending, product_scores
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles


class Luong(Lookup):
    """c_t = sum_s softmax_s(score(h_t, h_s)) h_s, and tanh(W_c [c_t; h_t]) of it."""

    no_plan = "one head asks for all of the width"
    roles: ClassVar[Roles] = {"out.weight": "writes", "score.weight": "score"}
    multiplied: ClassVar[tuple[str, ...]] = ("score",)

    def __init__(self, config: "LuongConfig", width: int) -> None:
        super().__init__()
        self.config, self.width = config, width
        if config.score != "dot":
            self.k = nn.Linear(width, width, bias=False)
        if config.score == "concat":
            self.q, self.score = nn.Linear(width, width, bias=False), nn.Linear(width, 1, bias=False)
        self.out = nn.Linear(2 * width if config.attentional else width, width, bias=config.bias)

    def shapes(self) -> list[tuple[int, ...]]:
        return [(self.width,)] if self.config.score == "dot" else [(self.width,), (self.width,)]

    def fields(self, x: Tensor, layout: Layout) -> Fields:
        return (x,) if self.config.score == "dot" else (x, self.k(x))

    def weights(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        q = self.q(x) if self.config.score == "concat" else x
        q, k = q[:, :, None], seen.fields[-1].to(q.dtype)[:, :, None]  # one head
        scores = additive_scores(q, k, self.score.weight) if self.config.score == "concat" else product_scores(q, k)
        return attending(scores, mask_of(seen))

    def answer(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        v = seen.fields[0].to(x.dtype)[:, :, None]
        c = mean(self.weights(x, layout, seen), v, self.config.dropout if self.training else 0.0)
        return self.out(torch.cat([c, x], -1)).tanh() if self.config.attentional else self.out(c)


@dataclass(frozen=True, kw_only=True)
class LuongConfig(MixerConfig):
    """tanh(W_c [c_t; h_t]), c_t = sum_s softmax_s(score(h_t, h_s)) h_s.   Luong, Pham & Manning 2015, arXiv:1508.04025.

    score: "dot": h_t^T h_s, not scaled; "general": h_t^T W h_s; "concat": v^T tanh(W [h_t; h_s]).
    attentional: whether there is the tanh; false: W_c c_t instead.
    bias: of W_c.
    dropout: of attention weights.
    """

    kind: ClassVar[str] = "luong"
    score: Literal["dot", "general", "concat"] = "general"
    attentional: bool = True
    bias: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_probability(dropout=self.dropout)

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [cls(score="dot"), cls(score="general", bias=True), cls(score="concat"), cls(attentional=False)]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Luong(self, width)
