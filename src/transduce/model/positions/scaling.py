"""Rotary frequencies for texts longer than those of training.

Tested in tests/model/test_positions.py.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from transduce.config import Part
from transduce.errors import UserError, require_at_least


def frequencies(dim: int, base: float) -> Tensor:
    """(D/2,) float64: base^(-2i/D).   Su et al. 2021, arXiv:2104.09864, eq. 15."""
    return base ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)


@dataclass(frozen=True, kw_only=True)
class ScalingConfig(Part):
    """A change of the frequencies."""

    folder: ClassVar[str] = "transduce.model.positions.scaling"

    def frequencies(self, dim: int, base: float, limit: int) -> Tensor:
        """Returns angles per position, float64: (D/2,), or (limit, D/2) where each position has its own."""
        raise AssertionError("a kind of ScalingConfig defines frequencies")

    @property
    def gain(self) -> float:
        """Returns the factor on turned queries and keys."""
        return 1.0

    def reach(self, limit: int) -> int:
        """Returns the first position that cannot be encoded, at most `limit`."""
        return limit


def require_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0.0 < value < math.inf:
            raise UserError(f"{name}={value} must be above 0, and a number")


@dataclass(frozen=True, kw_only=True)
class LinearScalingConfig(ScalingConfig):
    """Positions divided by `factor`.   Chen et al. 2023, arXiv:2306.15595.

    factor: by which positions are divided.
    """

    kind: ClassVar[str] = "linear"
    factor: float

    def __post_init__(self) -> None:
        require_positive(factor=self.factor)

    def frequencies(self, dim: int, base: float, limit: int) -> Tensor:
        return frequencies(dim, base) / self.factor


@dataclass(frozen=True, kw_only=True)
class DynamicScalingConfig(ScalingConfig):
    """base (factor n / original - factor + 1)^(D/(D-2)) for n tokens, n at least original.   bloc97, emozilla 2023.

    n counts the tokens up to the one that is turned, so what a token is turned by does not depend on what follows, and
    a text gives the same numbers in one piece or in many. So do transformers where they write token by token with a
    cache; where they read a text beyond `original` at once, all of its tokens are turned as the last one is here.

    factor: how much longer than those of training texts may become.
    original: positions of training.
    """

    kind: ClassVar[str] = "dynamic"
    factor: float
    original: int

    def __post_init__(self) -> None:
        require_at_least(1, original=self.original)
        require_positive(factor=self.factor)
        if self.factor < 1.0:  # else bases would turn negative
            raise UserError(f"factor={self.factor} must be at least 1; 1 changes least")

    def frequencies(self, dim: int, base: float, limit: int) -> Tensor:
        if dim < 4:
            raise UserError(f"dynamic scaling needs 4 turned features of a head or more, not {dim}")
        tokens = torch.arange(1, limit + 1, dtype=torch.float64)[:, None].clamp(min=self.original)
        bases = base * (self.factor * tokens / self.original - (self.factor - 1.0)) ** (dim / (dim - 2))
        return bases ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)


@dataclass(frozen=True, kw_only=True)
class YarnScalingConfig(ScalingConfig):
    """Slow pairs divided by `factor`, fast ones left, a ramp between.   Peng et al. 2023, arXiv:2309.00071, sec. 3.2.

    factor: how much longer than those of training texts may become.
    original: positions of training.
    beta_fast: a pair that turns more often in `original` positions is fast.
    beta_slow: a pair that turns less often in `original` positions is slow.
    attention: the gain, t^-1/2 of sec. 3.4 (None: m(mscale) / m(mscale_all_dim) if both are given, as in DeepSeek-V2,
        else m(1), with m(x) = 1 + 0.1 x ln(factor)).
    mscale: see attention (None: it is not given).
    mscale_all_dim: see attention (None: it is not given).
    truncate: the ramp begins and ends at whole pairs.
    """

    kind: ClassVar[str] = "yarn"
    factor: float
    original: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True

    def __post_init__(self) -> None:
        require_at_least(1, original=self.original)
        require_positive(
            factor=self.factor, beta_fast=self.beta_fast, beta_slow=self.beta_slow, attention=self.attention
        )
        if self.beta_fast < self.beta_slow:
            raise UserError(f"beta_fast={self.beta_fast} must be at least beta_slow={self.beta_slow}")

    def frequencies(self, dim: int, base: float, limit: int) -> Tensor:
        if base <= 1.0:
            raise UserError(f"base={base} must be above 1 for yarn scaling")
        low, high = (
            dim * math.log(self.original / (turns * 2 * math.pi)) / (2 * math.log(base))
            for turns in (self.beta_fast, self.beta_slow)
        )
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        span = high - low if high != low else 0.001
        slow = ((torch.arange(dim // 2, dtype=torch.float64) - low) / span).clamp(0.0, 1.0)
        return frequencies(dim, base) * (1.0 - slow + slow / self.factor)

    @property
    def gain(self) -> float:
        if self.attention is not None:
            return self.attention
        more = 0.1 * math.log(max(self.factor, 1.0))
        if self.mscale and self.mscale_all_dim:
            return (1.0 + more * self.mscale) / (1.0 + more * self.mscale_all_dim)
        return 1.0 + more


@dataclass(frozen=True, kw_only=True)
class Llama3ScalingConfig(ScalingConfig):
    """Pairs that turn less than `low` times in `original` divided by `factor`, above `high` left, linear between.

    Llama Team 2024, arXiv:2407.21783, sec. 3.4.2, whose base it is; the rule is that of the published code.

    factor: by which slow pairs are divided.
    original: positions of training.
    low: a pair that turns less often in `original` positions is slow.
    high: a pair that turns more often in `original` positions is left.
    """

    kind: ClassVar[str] = "llama3"
    factor: float
    original: int
    low: float = 1.0
    high: float = 4.0

    def __post_init__(self) -> None:
        require_at_least(1, original=self.original)
        require_positive(factor=self.factor, low=self.low)
        if self.high <= self.low:
            raise UserError(f"high={self.high} must be above low={self.low}")

    def frequencies(self, dim: int, base: float, limit: int) -> Tensor:
        plain = frequencies(dim, base)
        turns = self.original * plain / (2 * math.pi)
        fast = ((turns - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
        return plain * (fast + (1.0 - fast) / self.factor)


@dataclass(frozen=True, kw_only=True)
class LongRopeScalingConfig(ScalingConfig):
    """Each pair divided by a number of its own, found by search.   Ding et al. 2024, arXiv:2402.13753.

    Published code takes `short` for sequences of up to `original` tokens, else `long`, for all tokens: what the first
    ones mean then depends on how many follow. Here the model says which.

    short: the numbers for texts of up to `original` tokens.
    long: the numbers for longer texts.
    original: positions of training.
    factor: how much longer than `original` texts may become.
    attention: the gain (None: sqrt(1 + ln(factor) / ln(original)), whichever of the two is taken).
    extended: `long`, up to the limit; otherwise `short`, and positions end at `original`.
    """

    kind: ClassVar[str] = "longrope"
    short: tuple[float, ...]
    long: tuple[float, ...]
    original: int
    factor: float
    attention: float | None = None
    extended: bool = False

    def __post_init__(self) -> None:
        require_at_least(2, original=self.original)
        require_positive(factor=self.factor, attention=self.attention)
        if not self.short or len(self.short) != len(self.long) or not min(*self.short, *self.long) > 0.0:
            raise UserError(
                f"short ({len(self.short)} numbers) and long ({len(self.long)}) need one number above 0 for each pair"
            )

    def frequencies(self, dim: int, base: float, limit: int) -> Tensor:
        if 2 * len(self.short) != dim:
            raise UserError(f"short and long have {len(self.short)} numbers each, but {dim // 2} pairs are turned")
        return frequencies(dim, base) / torch.tensor(self.long if self.extended else self.short, dtype=torch.float64)

    @property
    def gain(self) -> float:
        if self.attention is not None:
            return self.attention
        return math.sqrt(1.0 + math.log(max(self.factor, 1.0)) / math.log(self.original))

    def reach(self, limit: int) -> int:
        return limit if self.extended or self.short == self.long else min(limit, self.original)


@dataclass(frozen=True, kw_only=True)
class ProportionalScalingConfig(ScalingConfig):
    """The slowest pairs are not turned: the first `share` of all keep their frequencies, divided by `factor`.

    share: of the pairs that keep their frequencies, the first ones.
    factor: by which these frequencies are divided.
    """

    kind: ClassVar[str] = "proportional"
    share: float
    factor: float = 1.0

    def __post_init__(self) -> None:
        require_positive(factor=self.factor)
        if not 0.0 <= self.share <= 1.0:
            raise UserError(f"share={self.share} must be from 0 to 1: the part of all pairs that is turned")

    def frequencies(self, dim: int, base: float, limit: int) -> Tensor:
        turned = torch.arange(dim // 2) < int(self.share * dim // 2)
        return frequencies(dim, base) / self.factor * turned
