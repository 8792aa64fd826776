"""The contract of processes: x_t = a_t x_0 + s_t e, from the data x_0 to the noise e, which is N(0, 1).

A model that removes noise predicts one combination of x_0 and e; the process says which, and knows the way back.

Tested in tests/model/test_process.py.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from transduce.config import Part
from transduce.errors import UserError


class Noisy(NamedTuple):
    """The inputs of a model that removes noise.

    x: (B, ...) numbers, such as pictures. time: (B,) float32, as the model is told it. given: (B,) classes, -1: none;
    or (B, M) vectors of captions.
    """

    x: Tensor
    time: Tensor
    given: Tensor


class Parts(NamedTuple):
    """The data x_0 and the noise e of which x_t was made, as far as a model can tell."""

    data: Tensor
    noise: Tensor


def wide(values: Tensor, like: Tensor) -> Tensor:
    """Returns (B,) numbers as (B, 1, ...), in the precision of `like` (B, ...)."""
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


@dataclass(frozen=True, kw_only=True)
class Process(Part):
    """The way from data to noise. Times are (B,) float64, from 0, the data, to `last`, pure noise."""

    folder: ClassVar[str] = "transduce.model.process"
    sampler: ClassVar[str]  # what draws by it where nothing else is said

    @property
    def last(self) -> float:
        raise AssertionError("a kind of Process defines last")

    @abstractmethod
    def at(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a_t and s_t, (B,) float64."""

    @abstractmethod
    def learnt(self, shares: Tensor) -> Tensor:
        """Returns the time of training at each share, (B,) in [0, 1), of all of them; 0 is never one."""

    @abstractmethod
    def times(self, steps: int) -> list[float]:
        """Returns the times of so many steps of drawing: steps + 1 that fall from `last` to 0. Raises UserError."""

    @abstractmethod
    def clock(self, time: Tensor) -> Tensor:
        """Returns a time as a model is told it, (B,) float32, from 0 to about 1,000."""

    @abstractmethod
    def target(self, parts: Parts, time: Tensor) -> Tensor:
        """Returns what a model is to predict, (B, ...)."""

    @abstractmethod
    def parts(self, x: Tensor, predicted: Tensor, time: Tensor) -> Parts:
        """Returns x_0 and e, (B, ...), of which x at a time was made, as a prediction has it."""

    @abstractmethod
    def follow(self, x: Tensor, one: Parts, two: Parts, time: Tensor, until: Tensor) -> Tensor:
        """Returns x at an earlier time, along the mean of the directions of two predictions (a step of Heun)."""

    def noised(self, parts: Parts, time: Tensor) -> Tensor:
        """x_t = a_t x_0 + s_t e."""
        a, s = (wide(values, parts.data) for values in self.at(time))
        return a * parts.data + s * parts.noise


def require_steps(steps: int) -> None:
    """Raises UserError unless there is a step to take."""
    if steps < 1:
        raise UserError(f"steps={steps} draws nothing but noise; take at least 1 step, such as steps=50")


def full(time: float, like: Tensor) -> Tensor:
    """Returns one time for every row of (B, ...), (B,) float64."""
    return torch.full((len(like),), time, dtype=torch.float64, device=like.device)
