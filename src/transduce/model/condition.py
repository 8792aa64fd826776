"""The condition of a model that removes noise: one vector a row, of the time and of the class that is asked for.

Tested in tests/model/test_condition.py.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class Condition(nn.Module):
    """silu(W_2 silu(W_1 sinusoid(t) + b_1) + b_2 + E[class]): (B,) times and classes -> (B, M).

    classes: their number; 0: there are none. none: E has a row more, of no class.
    """

    roles: ClassVar[Roles] = {"classes.weight": "table"}

    def __init__(self, width: int, features: int, classes: int, none: bool, ends: bool = False) -> None:
        super().__init__()
        self.features, self.size, self.none, self.ends = features, classes, none, ends
        self.enter, self.out = nn.Linear(features, width), nn.Linear(width, width)
        self.classes = nn.Embedding(classes + none, width) if classes else None

    def start(self) -> dict[str, Initialiser]:
        own = {"enter.weight": normal(STD), "out.weight": normal(STD)}
        return own if self.classes is None else {**own, "classes.weight": normal(STD)}

    def forward(self, time: Tensor, given: Tensor) -> Tensor:
        x = sinusoid(time, self.features, self.ends).to(self.enter.weight.dtype)
        x = self.out(F.silu(self.enter(x)))
        if self.classes is not None:
            x = x + self.classes(torch.where(given < 0, self.size, given))
        return F.silu(x)
