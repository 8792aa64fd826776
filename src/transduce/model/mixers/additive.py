"""Additive attention: a small network scores every pair of tokens."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.errors import require_at_least, require_probability
from transduce.model.cache import Fields, Seen
from transduce.model.layout import Layout
from transduce.model.mixers.lookup import Lookup, head_size, mask_of, mean
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.scores import additive_scores, attending
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles


class Additive(Lookup):
    """softmax_j(v^T tanh(W q_i + U k_j)) over the tokens themselves, or over projections of them."""

    no_plan = "the vectors that score are one matrix for all heads, which is no map of x"
    roles: ClassVar[Roles] = {"v.weight": "adds", "out.weight": "writes", "score.weight": "score"}
    multiplied: ClassVar[tuple[str, ...]] = ("score",)

    def __init__(self, config: "AdditiveConfig", width: int) -> None:
        super().__init__()
        self.part, self.p = head_size(config.heads, width), config.dropout
        self.size = config.size or self.part
        self.q = nn.Linear(width, config.heads * self.size, bias=config.bias)
        self.k = nn.Linear(width, config.heads * self.size, bias=False)  # a bias of q is one of k, inside the tanh
        self.v = nn.Linear(width, width, bias=config.bias) if config.value else nn.Identity()
        self.score = nn.Linear(self.size, config.heads, bias=False)
        self.out = nn.Linear(width, width, bias=config.bias)

    def shapes(self) -> list[tuple[int, ...]]:
        heads = self.score.out_features
        return [(heads, self.size), (heads, self.part)]

    def fields(self, x: Tensor, layout: Layout) -> Fields:
        return self.k(x).unflatten(-1, (-1, self.size)), self.v(x).unflatten(-1, (-1, self.part))

    def weights(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        q = self.q(x).unflatten(-1, (-1, self.size))
        return attending(additive_scores(q, seen.fields[0].to(q.dtype), self.score.weight), mask_of(seen))

    def answer(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        p = self.p if self.training else 0.0
        return self.out(mean(self.weights(x, layout, seen), seen.fields[1].to(x.dtype), p))


@dataclass(frozen=True, kw_only=True)
class AdditiveConfig(MixerConfig):
    """e_ij = v^T tanh(W q_i + U k_j), y_i = sum_j softmax_j(e_ij) x_j.   Bahdanau et al. 2014, arXiv:1409.0473.

    The published start, v = 0, weighs all tokens alike; short runs then barely move.

    heads: each scores by itself and averages its share of the features; published: 1.
    size: of the alignment layer of a head (None: width / heads).
    value: average a projection of the tokens; published: the tokens themselves.
    bias: whether the alignment layer has one.
    dropout: of attention weights.
    """

    kind: ClassVar[str] = "additive"
    heads: int = 1
    size: int | None = None
    value: bool = False
    bias: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, heads=self.heads, size=self.size)
        require_probability(dropout=self.dropout)

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [cls(), cls(size=7, bias=False), cls(heads=2, size=5, value=True)]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Additive(self, width)
