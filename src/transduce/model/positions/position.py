"""The contract of position encodings: added to the embedding, or applied to queries and keys inside attention."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.config import Part


class Positions(nn.Module):
    """No positions at all, and the base of every encoding. `limit`: first position that cannot be encoded, or None."""

    limit: int | None = None

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        """Embedded tokens (B, T, M) with their positions (B, T) added, for encodings of the absolute position."""
        return x

    def turn(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, T, H, D) and keys (B, T, G, D) of the tokens at positions (B, T), turned by rotary encodings."""
        return q, k


@dataclass(frozen=True, kw_only=True)
class PositionsConfig(Part):
    """Which positions. `build(width, head_dim)` makes the module; encodings applied in attention need its head_dim."""

    folder: ClassVar[str] = "transduce.model.positions"

    def build(self, width: int, head_dim: int) -> Positions:
        raise AssertionError("a kind of PositionsConfig defines build")


@dataclass(frozen=True, kw_only=True)
class NoPositionsConfig(PositionsConfig):
    """Order is known only through causality."""

    kind: ClassVar[str] = "none"

    def build(self, width: int, head_dim: int) -> Positions:
        return Positions()
