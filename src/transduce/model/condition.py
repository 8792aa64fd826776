"""The condition of a model that removes noise: one vector a row, of the time and of what is asked for.

Tested in tests/model/test_condition.py.
"""

import math
from abc import ABC
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.init.init import Initialiser, normal
from transduce.model.roles import Roles

STD = 0.02  # of start values, in the released code of DiT


def sinusoid(time: Tensor, features: int, ends: bool = False, base: float = 10_000.0) -> Tensor:
    """cos and sin of time * base^(-2i / F), all cosines first.   Peebles & Xie 2022, arXiv:2212.09748, released code.

    time: (B,), whole or not. ends: -2i / (F - 2), so that the slowest is time / base (diffusers).
    Returns (B, features) float32, of an even number.
    """
    half = features // 2
    numbers = torch.arange(half, dtype=torch.float32, device=time.device)
    rates = torch.exp(-math.log(base) * numbers / (half - ends))
    angle = time.float()[:, None] * rates
    return torch.cat([angle.cos(), angle.sin()], -1)


def require_pairs(frequencies: int) -> None:
    """Raises UserError for features of which one would be a sine without its cosine."""
    if frequencies % 2:
        raise UserError(f"frequencies={frequencies} is odd, but each is a sine and a cosine; add 1")


class TimeCondition(nn.Module, ABC):
    """The part that conditions share: W_2 silu(W_1 sinusoid(t) + b_1) + b_2 of the time."""

    size: int  # how many classes there are

    def __init__(self, width: int, features: int, ends: bool) -> None:
        super().__init__()
        self.features, self.ends = features, ends
        self.enter, self.out = nn.Linear(features, width), nn.Linear(width, width)

    def start(self) -> dict[str, Initialiser]:
        return {"enter.weight": normal(STD), "out.weight": normal(STD)}

    def time(self, time: Tensor) -> Tensor:
        """(B,) -> (B, M)."""
        return self.out(F.silu(self.enter(sinusoid(time, self.features, self.ends).to(self.enter.weight.dtype))))


class Condition(TimeCondition):
    """silu(W_2 silu(W_1 sinusoid(t) + b_1) + b_2 + E[class]): (B,) times and classes -> (B, M).

    classes: their number; 0: there are none. none: E has a row more, of no class.
    """

    roles: ClassVar[Roles] = {"classes.weight": "table"}

    def __init__(self, width: int, features: int, classes: int, none: bool, ends: bool = False) -> None:
        super().__init__(width, features, ends)
        self.size, self.none = classes, none
        self.classes = nn.Embedding(classes + none, width) if classes else None

    def start(self) -> dict[str, Initialiser]:
        own = super().start()
        return own if self.classes is None else {**own, "classes.weight": normal(STD)}

    def forward(self, time: Tensor, given: Tensor) -> Tensor:
        x = self.time(time)
        if self.classes is not None:
            x = x + self.classes(torch.where(given < 0, self.size, given))
        return F.silu(x)


class CaptionCondition(TimeCondition):
    """silu(W_2 silu(W_1 sinusoid(t) + b_1) + b_2 + v): (B,) times and (B, M) vectors of captions -> (B, M).

    none: (M,), the vector where there is no caption.
    """

    size = 0

    def __init__(self, width: int, features: int, ends: bool = False) -> None:
        super().__init__(width, features, ends)
        self.none = nn.Parameter(torch.empty(width))

    def start(self) -> dict[str, Initialiser]:
        return {**super().start(), "none": normal(STD)}

    def forward(self, time: Tensor, given: Tensor) -> Tensor:
        x = self.time(time)
        return F.silu(x + given.to(x.dtype))
