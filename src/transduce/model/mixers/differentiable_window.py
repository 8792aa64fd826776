"""Attention in which every query also learns where the stretch of keys begins and ends that matters to it."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least, require_probability
from transduce.model.cache import Fields, Seen
from transduce.model.layout import Layout
from transduce.model.mixers.lookup import Lookup, head_size, mask_of, mean
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.scores import attending, product_scores
from transduce.model.ops.window import segment_ends, soft_window
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles


class DifferentiableWindow(Lookup):
    """A = softmax(q k^T) * m, or softmax(q k^T + (q' k'^T) * m), m the soft window of each query."""

    roles: ClassVar[Roles] = {"v.weight": "adds", "out.weight": "writes"}

    def __init__(self, config: "DifferentiableWindowConfig", width: int) -> None:
        super().__init__()
        self.config, self.head_dim = config, head_size(config.heads, width)
        self.pairs = ["", "_l", "_r", *(["_local"] if config.use == "additive" else [])]
        names = [*(f"{of}{pair}" for pair in self.pairs for of in "qk"), "v"]
        for name in names:
            self.add_module(name, nn.Linear(width, width, bias=config.bias))
        self.out = nn.Linear(width, width, bias=config.bias)
        self.tp_plan = dict.fromkeys(names, "columns") | {"out": "rows"}  # type: ignore[misc]  # as many as there are

    def heads(self, name: str, x: Tensor) -> Tensor:
        """(B, T, H, D) of one projection, however many heads this rank holds."""
        return self.get_submodule(name)(x).unflatten(-1, (-1, self.head_dim))

    def shapes(self) -> list[tuple[int, ...]]:
        return [(self.out.in_features // self.head_dim, self.head_dim)] * (len(self.pairs) + 1)

    def fields(self, x: Tensor, layout: Layout) -> Fields:
        return tuple(self.heads(name, x) for name in ["v", *(f"k{pair}" for pair in self.pairs)])

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        seen = self.recall.read(layout, self.write(x, layout))
        return self.combine(x, self.weigh(x, layout, seen, self.config.constrained), seen)

    def answer(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        return self.combine(x, self.weights(x, layout, seen), seen)

    def weights(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        return self.weigh(x, layout, seen, constrained=False)

    def weigh(self, x: Tensor, layout: Layout, seen: Seen, constrained: bool) -> Tensor:
        """(B, H, T, N). constrained: the window of a token begins at it or before, and ends at it or behind."""
        scores, left, right, *local = (
            product_scores(self.heads(f"q{pair}", x), k.to(x.dtype), self.head_dim**-0.5)
            for pair, k in zip(self.pairs, seen.fields[1:], strict=True)
        )
        mask = before = behind = mask_of(seen)
        if constrained:
            here, there = layout.positions[:, None, :, None], seen.positions[:, None, None]
            before, behind = (near if mask is None else near & mask for near in (there <= here, there >= here))
        ends = None if self.config.segment is None else segment_ends(seen.positions, self.config.segment)
        m = soft_window(attending(left, before), attending(right, behind), ends, constrained=constrained)
        m = m.clamp(max=1.0) if self.config.clamp else m
        if local:
            return attending(scores + local[0] * m, mask)
        a = attending(scores, mask) * m
        return a / a.sum(-1, keepdim=True).clamp(min=torch.finfo(a.dtype).tiny) if self.config.renormalise else a

    def combine(self, x: Tensor, weights: Tensor, seen: Seen) -> Tensor:
        return self.out(mean(weights, seen.fields[0].to(x.dtype), self.config.dropout if self.training else 0.0))


@dataclass(frozen=True, kw_only=True)
class DifferentiableWindowConfig(MixerConfig):
    """softmax(q k^T) * m, m the soft window between two learned ends.   Nguyen et al. 2020, arXiv:2006.13561.

    m = (l U) * (r U^T) + (l U^T) * (r U): l and r are softmax(q_l k_l^T) and softmax(q_r k_r^T), the keys at which the
    window begins and ends; U sums up to a key, U^T from it on. All scores are divided by sqrt(D).

    heads: how many.
    use: "multiplicative", as above, or "additive": softmax(q k^T + (q' k'^T) * m).
    segment: m is constant within segments of so many positions, published: 5 (None: no segments).
    renormalise: the weights of the multiplicative use add up to 1 again.
    clamp: m at most 1; it is up to 2 where both ends are the same key.
    constrained: in an encoder, windows begin at their token or before and end at it or behind, and m has its first term
        only.
    bias: whether the maps have one.
    dropout: of attention weights.
    """

    kind: ClassVar[str] = "differentiable-window"
    heads: int = 4
    use: Literal["multiplicative", "additive"] = "additive"
    segment: int | None = None
    renormalise: bool = False
    clamp: bool = False
    constrained: bool = False
    bias: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, heads=self.heads, segment=self.segment)
        require_probability(dropout=self.dropout)
        if self.renormalise and self.use == "additive":
            raise UserError("renormalise=true, but weights of use=additive add up to 1 as they are; leave it out")

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [
            cls(heads=4),
            cls(heads=2, use="multiplicative", segment=3),
            cls(heads=2, use="multiplicative", renormalise=True, clamp=True, constrained=True, bias=False),
            cls(heads=1, segment=5, constrained=True),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return DifferentiableWindow(self, width)
