"""The contract of position encodings: added to the embedding, or applied to queries, keys or scores inside mixers.

Tested in tests/model/test_positions.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from transduce.config import Part
from transduce.model.layout import Layout
from transduce.model.roles import Roles


class Queries(NamedTuple):
    """The queries of a mixer, to which positions may be applied."""

    heads: int
    head_dim: int


class Positions(nn.Module):
    """No positions at all, and the base of every encoding. `limit`: first position that cannot be encoded, or None.

    by_head: what is added differs from head to head, so a rank must hold all heads. scaled: what is added is a score
    itself, scaled by D^-1/2, so attention must scale its own the same way, and not cap them. typed: it depends on the
    types of tokens too.
    """

    roles: ClassVar[Roles] = {"*": "lookup"}

    limit: int | None = None
    by_head: ClassVar[bool] = False
    scaled: ClassVar[bool] = False
    typed: bool = False

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        """Adds positions (B, T) to embedded tokens (B, T, M), for encodings of the absolute position."""
        return x

    def add_to(self, x: Tensor, layout: Layout) -> Tensor:
        """Adds the places of a layout to vectors (B, T, M): those of a grid where an encoding has two directions."""
        return self.add(x, layout.place)

    def turn(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Turns queries (B, T, H, D) and keys (B, T, G, D) of the tokens at positions (B, T), by rotary encodings."""
        return q, k

    def bias(self, q: Tensor, at: Tensor | None, keys: Tensor | None, causal: bool = False) -> Tensor | None:
        """Returns what is added to scaled scores: (B or 1, H, T, N), or None for nothing.

        q: queries (B, T, H, D), as `turn` left them. at: their positions (B, T). keys: those of keys (B, N). Any may be
        -1: no token.

        at and keys None: each row is one sequence, whose slots are its positions. causal: nobody looks at keys ahead
        of a query, so what is added to them may be any finite number.
        """
        return None

    def lean(self, q: Tensor) -> Tensor:
        """Returns queries (B, T, H, D) as keys meet them: leant towards what all of them prefer (Transformer-XL)."""
        return q

    def inside(self, x: Tensor, inner: Tensor | None) -> Tensor:
        """Adds to tokens (B, T, M) their places inside their blanks (B, T), where these are encoded (GLM)."""
        return x

    def by_type(self, q: Tensor, types: Tensor) -> Tensor | None:
        """Returns what `bias` adds besides for types (B, T) of tokens, both queries and keys: (B, H, T, T), or None."""
        return None

    def for_stack(self, causal: bool) -> "Positions":
        """Returns the part that the mixers of one stack share: itself, unless stacks differ (T5's tables)."""
        return self

    def for_mixer(self) -> "Positions":
        """Returns the part of one mixer: itself, unless each mixer has weights of its own (Transformer-XL)."""
        return self


def table_of(rows: int, make: Callable[[int], Tensor]) -> Tensor:
    """Returns make(rows), of shape (rows, ...). On the meta device one row is made, elsewhere, for its checks and its
    shape: functions of that device have no numbers, and import a compiler to find that out."""
    if torch.get_default_device().type != "meta":
        return make(rows)
    with torch.device("cpu"):
        first = make(1)
    return torch.empty(rows, *first.shape[1:], dtype=first.dtype)


def distances(at: Tensor, keys: Tensor) -> Tensor:
    """Returns (B, T, N) int64: how far behind a query at (B, T) a key at (B, N) lies."""
    return at[:, :, None] - keys[:, None, :]


def steps(q: Tensor, causal: bool) -> Tensor:
    """Returns (C,) int64: T, T - 1, ..., every distance in a sequence of T tokens, with one more that `slide` wants."""
    return torch.arange(q.shape[1], -1 if causal else -q.shape[1], -1, device=q.device)


def slide(x: Tensor) -> Tensor:
    """Moves what belongs to distances `steps` (..., T, C) -> what belongs to distance i - j (..., T, T).

    y_ij = x_{i, T-i+j}, so one token on is C - 1 numbers on in memory: the "relative shift" of Dai et al. 2019, app. B,
    as a view. Where nobody looks ahead, what lies ahead is taken from the next row.
    """
    tokens, columns = x.shape[-2:]
    shifted = x.flatten(-2)[..., tokens:].view(*x.shape[:-1], columns - 1)
    return shifted[..., :tokens]


@dataclass(frozen=True, kw_only=True)
class PositionsConfig(Part):
    """The choice of positions. `build(width, queries)` makes the module.

    A class says where they act (`acts`). "add": on the embedding; "turn": on queries and keys; "bias": on the scores of
    attention; "table": they give the mixer vectors to do so. All but the first need a mixer that lists them in
    `MixerConfig.positions`, and its queries.
    """

    folder: ClassVar[str] = "transduce.model.positions"
    acts: ClassVar[Literal["none", "add", "turn", "bias", "table"]]

    def build(self, width: int, queries: Queries | None) -> Positions:
        raise AssertionError("a kind of PositionsConfig defines build")

    @classmethod
    def examples(cls) -> "list[PositionsConfig]":
        """Returns small configurations on which the laws of mixers are run."""
        return [cls()]


@dataclass(frozen=True, kw_only=True)
class NoPositionsConfig(PositionsConfig):
    """Order is known only through causality."""

    kind: ClassVar[str] = "none"
    acts = "none"

    def build(self, width: int, queries: Queries | None) -> Positions:
        return Positions()
