"""Learning-rate schedules: pure functions from the number of the update to a factor of the peak rate."""

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from transduce.config import Part


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Part, ABC):
    """The learning rate as a function of the update.

    warmup_steps: updates of linear rise, which come first in every kind.
    """

    folder: ClassVar[str] = "transduce.optim.schedule"
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps={self.warmup_steps} is negative; use 0 for none")

    @property
    def end(self) -> int | None:
        """Returns the update from which on the rate stays as it is (None: it has no end, or it is still open)."""
        return None

    @abstractmethod
    def after_warmup(self, step: int) -> float:
        """Returns the factor of update `step` >= warmup_steps."""

    def factor(self, step: int) -> float:
        """Returns the factor of the peak rate in update `step`, which counts from 1."""
        return step / self.warmup_steps if step < self.warmup_steps else self.after_warmup(step)

    def resolve(self, max_steps: int) -> Self:
        """Returns the schedule with what depends on the length of training filled in."""
        return self


@dataclass(frozen=True, kw_only=True)
class Constant(ScheduleConfig):
    """The peak rate all the way."""

    kind: ClassVar[str] = "constant"

    def after_warmup(self, step: int) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class InverseSqrt(ScheduleConfig):
    """sqrt(warmup / step).   Vaswani et al. 2017, eq. 3, whose peak rate is (width * warmup)^-0.5."""

    kind: ClassVar[str] = "inverse-sqrt"
    warmup_steps: int = 4000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_steps < 1:
            raise ValueError("inverse-sqrt with warmup_steps=0 would fall from the first update on; use kind=linear")

    def after_warmup(self, step: int) -> float:
        return math.sqrt(self.warmup_steps / step)


@dataclass(frozen=True, kw_only=True)
class StepDecay(ScheduleConfig):
    """The peak rate for `hold` updates, then times `gamma` every `every`.   Sutskever et al. 2014, sec. 3.4: halves.

    hold: updates at the peak rate.
    every: updates between two falls.
    gamma: by which the rate is multiplied at each.
    """

    kind: ClassVar[str] = "step-decay"
    hold: int = 1000
    every: int = 1000
    gamma: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hold < 1 or self.every < 1 or not 0 < self.gamma <= 1:
            raise ValueError(
                f"step-decay needs hold >= 1, every >= 1 and 0 < gamma <= 1, not hold={self.hold}, every={self.every}, "
                f"gamma={self.gamma}"
            )

    def after_warmup(self, step: int) -> float:
        return self.gamma ** (1 + (step - self.hold - 1) // self.every) if step > self.hold else 1.0


@dataclass(frozen=True, kw_only=True)
class _Finite(ScheduleConfig, ABC):
    """A schedule with an end.

    steps: updates to the end (None: as many as the training).
    """

    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.steps <= self.warmup_steps:
            raise ValueError(
                f"a schedule of steps={self.steps} has no room for warmup_steps={self.warmup_steps}; "
                f"use schedule.warmup_steps={max(self.steps // 10, 0)}"
            )

    @property
    def end(self) -> int | None:
        return self.steps

    def resolve(self, max_steps: int) -> Self:
        return dataclasses.replace(self, steps=max_steps) if self.steps is None else self

    def _remaining(self, step: int, start: int) -> float:
        """Returns how much of start..steps is still to come, from 1 to 0."""
        assert self.steps is not None, "resolve() comes first"
        return min(1.0, max(0.0, (self.steps - step) / max(self.steps - start, 1)))


@dataclass(frozen=True, kw_only=True)
class _Falling(_Finite, ABC):
    """One that falls to a share of the peak rate.

    final: that share.
    """

    final: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Cosine(_Falling):
    """Half a cosine from 1 down to `final`.   Loshchilov and Hutter 2017, eq. 5, without restarts."""

    kind: ClassVar[str] = "cosine"

    def after_warmup(self, step: int) -> float:
        return self.final + (1 - self.final) * 0.5 * (1 - math.cos(math.pi * self._remaining(step, self.warmup_steps)))


@dataclass(frozen=True, kw_only=True)
class Linear(_Falling):
    """A straight line from 1 down to `final`."""

    kind: ClassVar[str] = "linear"

    def after_warmup(self, step: int) -> float:
        return self.final + (1 - self.final) * self._remaining(step, self.warmup_steps)


@dataclass(frozen=True, kw_only=True)
class WarmupStableDecay(_Falling):
    """The peak rate, then over the last `decay` share of the steps 1 - sqrt(progress) down to `final`.

    Hägele et al. 2024, arXiv:2405.18392.

    decay: share of the steps in which the rate falls.
    """

    kind: ClassVar[str] = "warmup-stable-decay"
    decay: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay={self.decay} is the share of the steps that the decay takes; use 0.1 to 0.5")

    def after_warmup(self, step: int) -> float:
        assert self.steps is not None, "resolve() comes first"
        remaining = self._remaining(step, max(self.warmup_steps, round(self.steps * (1 - self.decay))))
        return self.final + (1 - self.final) * (1 - math.sqrt(1 - remaining))


@dataclass(frozen=True, kw_only=True)
class SlantedTriangular(_Finite):
    """From 1 / ratio up to the peak rate in the first `cut_frac` of the steps, then down to 1 / ratio.

    Howard and Ruder 2018, arXiv:1801.06146, eq. 3.

    warmup_steps: the length of the rise (0: cut_frac of the steps).
    cut_frac: share of the steps in which the rate rises.
    ratio: of the highest rate to the lowest.
    """

    kind: ClassVar[str] = "slanted-triangular"
    cut_frac: float = 0.1
    ratio: float = 32.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.cut_frac < 1:
            raise ValueError(f"cut_frac={self.cut_frac} is the share of the steps that the rise takes; use 0.1")
        if self.ratio < 1:
            raise ValueError(f"ratio={self.ratio} is the highest rate over the lowest and at least 1; use 32")

    @property
    def cut(self) -> int:
        """Returns the update that has the peak rate."""
        assert self.steps is not None, "resolve() comes first"
        return self.warmup_steps or max(1, int(self.steps * self.cut_frac))

    def factor(self, step: int) -> float:
        return self._above_lowest(step / self.cut) if step <= self.cut else self.after_warmup(step)

    def after_warmup(self, step: int) -> float:
        return self._above_lowest(
            self._remaining(step, self.cut)
        )  # a cut rounded down leads to 1 / ratio, not below it

    def _above_lowest(self, p: float) -> float:
        return (1 + p * (self.ratio - 1)) / self.ratio
