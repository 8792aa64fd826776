"""Diffusion: noise is added in T steps that keep the variance.

Tested in tests/model/test_process.py.
"""

import functools
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from transduce.errors import UserError, require_at_least
from transduce.model.process.process import Parts, Process, require_steps, wide

Noise = Literal["linear", "cosine"]
TOLD = 1000  # steps over which the published noise goes from 1e-4 to 0.02


def rates(noise: Noise, steps: int) -> Tensor:
    """Returns beta_1 .. beta_T, (T,) float64: the variance that each step adds."""
    if noise == "linear":
        first, last = (min(beta * TOLD / steps, 0.999) for beta in (1e-4, 0.02))
        return torch.linspace(first, last, steps, dtype=torch.float64)
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    left = ((t + 0.008) / 1.008 * math.pi / 2).cos().square()
    return (1 - left[1:] / left[:-1]).clamp(max=0.999)


@functools.cache
def signal(noise: Noise, steps: int) -> Tensor:
    """Returns the share of the variance that is still data, prod_{i<=t} (1 - beta_i), at t = 0 .. T: (T + 1,)."""
    return torch.cat([torch.ones(1, dtype=torch.float64), (1 - rates(noise, steps)).cumprod(0)])


@dataclass(frozen=True, kw_only=True)
class Diffusion(Process):
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e, t = 1 .. T.   Ho et al. 2020, arXiv:2006.11239, eq. 4.

    predicts: eps, the noise e; x0, the data; or v = sqrt(abar_t) e - sqrt(1 - abar_t) x_0 (Salimans & Ho 2022,
        arXiv:2202.00512, app. D).
    noise: linear, beta_t from 1e-4 to 0.02 over 1,000 steps (of fewer, as much more each); or cosine (Nichol & Dhariwal
        2021, arXiv:2102.09672, eq. 17).
    steps: T. A model is told t - 1.
    """

    kind: ClassVar[str] = "diffusion"
    sampler: ClassVar[str] = "ddim"
    predicts: Literal["eps", "x0", "v"] = "eps"
    noise: Noise = "linear"
    steps: int = 1000

    def __post_init__(self) -> None:
        require_at_least(2, steps=self.steps)

    @property
    def last(self) -> float:
        return self.steps

    def at(self, time: Tensor) -> tuple[Tensor, Tensor]:
        share = signal(self.noise, self.steps).to(time.device)[time.round().long()]
        return share.sqrt(), (1 - share).sqrt()

    def learnt(self, shares: Tensor) -> Tensor:
        return 1 + (shares.double() * self.steps).floor().clamp(max=self.steps - 1)

    def times(self, steps: int) -> list[float]:
        require_steps(steps)
        if steps > self.steps:
            raise UserError(f"steps={steps} is more than the {self.steps} of the training; take at most as many")
        return [float(round(self.steps * (steps - i) / steps)) for i in range(steps + 1)]

    def clock(self, time: Tensor) -> Tensor:
        return (time - 1).clamp(min=0).float()

    def target(self, parts: Parts, time: Tensor) -> Tensor:
        if self.predicts == "v":
            a, s = (wide(values, parts.data) for values in self.at(time))
            return a * parts.noise - s * parts.data
        return parts.noise if self.predicts == "eps" else parts.data

    def parts(self, x: Tensor, predicted: Tensor, time: Tensor) -> Parts:
        a, s = (wide(values, x) for values in self.at(time))
        if self.predicts == "eps":
            return Parts((x - s * predicted) / a, predicted)
        if self.predicts == "x0":
            return Parts(predicted, (x - a * predicted) / s)
        return Parts(a * x - s * predicted, s * x + a * predicted)

    def follow(self, x: Tensor, one: Parts, two: Parts, time: Tensor, until: Tensor) -> Tensor:
        """d(x / s) / d(a / s) = x_0, which no error of the first step is made larger by.   Lu et al. 2022.

        arXiv:2211.01095, eq. 8.
        """
        (a, s), (b, r) = ([wide(values, x) for values in self.at(when)] for when in (time, until))
        return r / s * x + (b - r / s * a) * (one.data + two.data) / 2
