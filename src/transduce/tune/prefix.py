"""Trained keys and values before those of every attention layer.

Tested in tests/tune/test_prefix.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.cache import BLOCK, Seen
from transduce.model.layout import Layout
from transduce.model.mixers.attention import Attention
from transduce.model.mixers.mixer import Mixer
from transduce.model.models import Model
from transduce.model.ops.attention import attend
from transduce.model.ops.rows import alike
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles
from transduce.tune.adapters import whole_heads
from transduce.tune.tuning import TuneConfig


@dataclass(frozen=True, kw_only=True)
class PrefixTuning(TuneConfig):
    """P keys and values before those of every attention layer move, and heads that predict no tokens.

    Li and Liang 2021, arXiv:2101.00190, eq. 3, without the network that makes them of fewer numbers. They take the
    first P positions, so those of tokens begin at P where positions are added or turn queries and keys. Whatever
    window or mask there is, every query sees all of them. They start as what each layer makes of random vectors.

    tokens: P, the keys and values of each head.
    """

    kind: ClassVar[str] = "prefix"
    not_merged: ClassVar[bool] = True
    tokens: int = 20

    def __post_init__(self) -> None:
        require_at_least(1, tokens=self.tokens)

    def adapt(self, model: Model, generator: torch.Generator) -> list[str]:
        if there := prefixed(model):
            assert {len(mixer.prefix.keys) for mixer in there} == {self.tokens}, "`require_same` saw to it"
            return [f"{self.kind} of {self.tokens} keys and values, as the model has it that this one starts from"]
        mixers = attentions(model)
        if not mixers:
            kinds = ", ".join(sorted({type(m).__name__ for stack in model.stacks() for m in stack.modules()
                                      if isinstance(m, Mixer)}))  # fmt: skip
            what = "tune=prefix puts keys and values before those of attention (mixer.kind=attention)"
            raise UserError(f"{what}, but the mixers of this model are {kinds or 'none'}; use tune=lora")
        self.make_room(model, mixers)
        for mixer in mixers:
            mixer.prefix = drawn(mixer, self.tokens, generator)
            mixer.__class__ = PrefixedAttention
        return [f"{self.kind} of {self.tokens} keys and values before those of {len(mixers)} attention layers"]

    def make_room(self, model: Model, mixers: list[Attention]) -> None:
        """Lets positions begin behind the prefix. Raises UserError where it leaves none."""
        embeds = [tower.embed for tower in model.towers() if tower.embed.counts_inputs]
        every = [*(mixer.positions for mixer in mixers), *(getattr(embed, "positions", None) for embed in embeds)]
        if model.limit is not None and self.tokens >= model.limit:
            what = f"tune.tokens={self.tokens} leaves no position to tokens, since the model has {model.limit}"
            raise UserError(f"{what}; use at most {model.limit - 1}")
        for positions in dict.fromkeys(one for one in every if isinstance(one, Positions) and moves(one)):
            behind(positions, self.tokens)
        for part in model.modules():
            if isinstance(part, Model) and part.limit is not None and any(moves(p) for p in within(part)):
                part.limit -= self.tokens

    def labels(self, model: Model) -> dict[Tensor, str]:
        own = {id(p) for mixer in prefixed(model) for p in mixer.prefix.parameters()} | whole_heads(model)
        return {p: "prefix" if id(p) in own else "base" for p in model.parameters()}

    def factor(self, label: str, step: int) -> float:
        return float(self.moves(label))

    def moves(self, label: str) -> bool:
        return label == "prefix"


class Prefix(nn.Module):
    """P keys (P, G, D), as positions leave them, and values (P, G, D)."""

    roles: ClassVar[Roles] = {"*": "lookup"}

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys, self.values = nn.Parameter(keys), nn.Parameter(values)


class PrefixedAttention(Attention):
    """Attention whose queries see a prefix beside all that they see without it.

    An attention that is there becomes one by its class, as `torch.nn.utils.parametrize` does it, so that its weights
    keep their names. The prefix is no part of the memory: a cache is the same with and without it.
    """

    prefix: Prefix
    tp_plan: ClassVar[dict[str, str]] = {}
    no_plan: str = "its prefix has keys and values for every head"

    def near(self, layout: Layout) -> bool:
        return False  # a sequence that is read in blocks of a window would not see the prefix

    def combine(self, q: Tensor, layout: Layout, seen: Seen, whole: bool = False) -> Tensor:
        return self.of(q, *self.among(q, layout, seen, whole, self.prefix.values))

    def weights(self, x: Tensor, layout: Layout, seen: Seen) -> Tensor:
        """Returns (B, H, T, N): the weight that each token gives to each of those it sees; the rest is the prefix's."""
        k, (batch, keys) = seen.fields[0], seen.positions.shape
        one_hot = torch.eye(keys, dtype=k.dtype, device=k.device)[None, :, None].expand(batch, -1, k.shape[2], -1)
        none = k.new_zeros(len(self.prefix.values), k.shape[2], keys)
        q = self.turned_queries(x, layout)
        y = self.of(q, *self.among(q, layout, seen._replace(fields=(k, one_hot)), False, none))
        return y.view(*y.shape[:2], -1, keys).transpose(1, 2)

    def of(self, q: Tensor, seen: Seen, bias: Tensor | None) -> Tensor:
        k, v = seen.fields
        p = self.p if self.training else 0.0
        return attend(
            self.positions.lean(q), k, v, seen.mask, p=p, bias=bias, scale=self.scale, softcap=self.softcap
        )  # fmt: skip

    def among(
        self, q: Tensor, layout: Layout, seen: Seen, whole: bool, values: Tensor
    ) -> tuple[Seen, Tensor | None]:  # fmt: skip
        """Returns what queries (B, T, H, D) see with the prefix before it, and what positions add to its scores.

        values: (P, G, E), of the prefix. Its positions are 0 to P - 1, and those of tokens begin at P.
        """
        tokens, (batch, keys) = len(values), seen.positions.shape
        blank = -tokens % BLOCK if alike(q) else 0  # slots that nobody sees, so that sums over keys are alike
        k, v = (
            torch.cat([F.pad(own, (0, 0, 0, 0, blank, 0)).to(q.dtype).expand(batch, -1, -1, -1), x.to(q.dtype)], 1)
            for own, x in zip((self.prefix.keys, values), seen.fields, strict=True)
        )
        mask = seen.mask
        if seen.causal:
            mask = torch.ones(q.shape[1], keys, dtype=torch.bool, device=q.device).tril()[None, None]
        elif mask is None and blank:
            mask = torch.ones(1, 1, 1, keys, dtype=torch.bool, device=q.device)
        if mask is not None:
            mask = F.pad(F.pad(mask, (tokens, 0), value=True), (blank, 0), value=False)
        first = torch.arange(-blank, tokens, device=q.device).clamp(min=-1).expand(batch, -1)
        extended = Seen((k, v), torch.cat([first, further(seen.positions, tokens)], 1), mask)
        if type(self.positions).bias is Positions.bias and not self.positions.typed:
            return extended, None
        if not whole and (layout.places is not None or layout.types is not None):
            self.bias(q, layout, seen, whole)  # refuses what does not go together
        places = seen.positions if layout.places is None else layout.places
        places = torch.cat([first, further(places, tokens)], 1)
        bias = self.positions.bias(q, further(layout.place, tokens), places)
        if self.positions.typed and layout.types is not None:
            more = self.positions.by_type(q, layout.types)
            more = None if more is None else F.pad(more, (blank + tokens, 0))
            bias = more if bias is None or more is None else bias + more
        return extended, bias


class Behind(Positions):
    """Positions that begin at `first`, where a prefix ends."""

    first: int

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        return super().add(x, further(positions, self.first))

    def turn(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        return super().turn(q, k, further(positions, self.first))


def further(positions: Tensor, steps: int) -> Tensor:
    """Returns positions (B, T) so many further on; -1, no token, stays."""
    return torch.where(positions < 0, positions, positions + steps)


@cache
def class_behind(kind: type[Positions]) -> type[Positions]:
    return cast("type[Positions]", type(kind.__name__, (Behind, kind), {"__module__": kind.__module__}))


def behind(positions: Positions, first: int) -> None:
    """Makes encodings begin at a position, in place."""
    positions.__class__ = class_behind(type(positions))
    cast(Behind, positions).first = first
    if positions.limit is not None:
        positions.limit -= first


def moves(positions: Positions) -> bool:
    """Says whether it matters to encodings where positions begin: they are added, or turn queries and keys."""
    return type(positions).add is not Positions.add or type(positions).turn is not Positions.turn


def within(model: Model) -> Iterator[Positions]:
    return (part for part in model.modules() if isinstance(part, Positions))


def attentions(model: Model) -> list[Attention]:
    """Returns the attention of the blocks of a model, to itself and to a source, in order, each once."""
    every = dict.fromkeys(part for stack in model.stacks() for part in stack.modules())
    return [part for part in every if type(part) is Attention]


def prefixed(model: nn.Module) -> list[PrefixedAttention]:
    """Returns the attention of a model that has a prefix, in order."""
    return [part for part in model.modules() if isinstance(part, PrefixedAttention)]


@torch.no_grad()
def drawn(mixer: Attention, tokens: int, generator: torch.Generator) -> Prefix:
    """Returns the keys and values that a mixer makes of random vectors, so that they are of the size of others."""
    x = torch.randn(1, tokens, mixer.k.in_features, generator=generator).to(mixer.k.weight)
    return Prefix(mixer.keys(x)[0].clone(), mixer.heads(mixer.v(x))[0].clone())
