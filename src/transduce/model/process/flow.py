"""Flow matching: a straight way from noise to data.

Tested in tests/model/test_process.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from transduce.model.process.process import Parts, Process, require_steps, wide

TOLD = 1000.0  # the model is told a time of 0 to 1 as one of 0 to this, so that its sines tell times apart


@dataclass(frozen=True, kw_only=True)
class Flow(Process):
    """x_t = (1 - t) x_0 + t e; what is predicted is its speed, e - x_0.   Liu et al. 2022, arXiv:2209.03003, eq. 1.

    The same as the conditional path of Lipman et al. 2022, arXiv:2210.02747, sec. 4.1, without noise at the data.
    """

    kind: ClassVar[str] = "flow"
    sampler: ClassVar[str] = "euler"

    @property
    def last(self) -> float:
        return 1.0

    def at(self, time: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - time, time

    def learnt(self, shares: Tensor) -> Tensor:
        return 1 - shares.double()

    def times(self, steps: int) -> list[float]:
        require_steps(steps)
        return [1 - i / steps for i in range(steps + 1)]

    def clock(self, time: Tensor) -> Tensor:
        return (TOLD * time).float()

    def target(self, parts: Parts, time: Tensor) -> Tensor:
        return parts.noise - parts.data

    def parts(self, x: Tensor, predicted: Tensor, time: Tensor) -> Parts:
        t = wide(time, x)
        return Parts(x - t * predicted, x + (1 - t) * predicted)

    def follow(self, x: Tensor, one: Parts, two: Parts, time: Tensor, until: Tensor) -> Tensor:
        speeds = one.noise - one.data + two.noise - two.data
        return x + wide(until - time, x) * speeds / 2
