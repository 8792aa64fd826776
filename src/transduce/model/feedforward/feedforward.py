"""The contract of feed-forwards: each position alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from transduce.config import Part

Activation = Literal["relu", "gelu", "gelu-tanh", "silu", "squared-relu", "sigmoid", "tanh", "identity"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu-tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "squared-relu": lambda x: F.relu(x).square(),
    "sigmoid": lambda x: x.sigmoid(),
    "tanh": lambda x: x.tanh(),
    "identity": lambda x: x,
}


@dataclass(frozen=True, kw_only=True)
class FeedForwardConfig(Part):
    """The choice of a feed-forward. `build(width)` makes a module (B, T, M) -> (B, T, M).

    A module whose class says `asks_valid = True` is called with x and the (B, T) bool of which slots hold a token.
    """

    folder: ClassVar[str] = "transduce.model.feedforward"
    absent: ClassVar[bool] = False  # a block has no sublayer for it

    def build(self, width: int) -> nn.Module:
        raise AssertionError("a kind of FeedForwardConfig defines build")


@dataclass(frozen=True, kw_only=True)
class NoFeedForwardConfig(FeedForwardConfig):
    """None: a block is its mixer alone, as in the recurrent networks before the Transformer."""

    kind: ClassVar[str] = "none"
    absent: ClassVar[bool] = True
