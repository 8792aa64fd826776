"""When a beam search is over, and what becomes of the place of a hypothesis that has ended."""

from typing import Protocol

import numpy as np

from transduce.generate.config import GenerateConfig
from transduce.generate.hypothesis import Floats, Hypothesis, Ints, penalty


class Ending(Protocol):
    """refills: whether the place of what has ended goes to the best that has not."""

    refills: bool

    def choices(self, width: int, ends: int) -> int:
        """Returns how many continuations of an input are looked at, where `ends` tokens end a hypothesis."""
        ...

    def bar(self, finished: list[list[Hypothesis]]) -> Floats:
        """Returns (S,) what an input is over without: a bound above it.   finished: hypotheses, the best first."""
        ...

    def bound(self, scores: Floats, limits: Ints, length: int) -> Floats:
        """Returns (S,) the rank that what grows may still reach.   scores: (S,) of the best that grows."""
        ...


class Shrinking:
    """A beam whose places go with what ends, as in Nematus and Marian: what may grow is K less what has ended."""

    refills = False

    def __init__(self, config: GenerateConfig, early: bool) -> None:
        """Takes early: end an input as soon as nothing that grows can come among its n best; no result changes."""
        self.config, self.early = config, early

    def choices(self, width: int, ends: int) -> int:
        return width

    def bar(self, finished: list[list[Hypothesis]]) -> Floats:
        return worst(finished, self.config, self.config.nbest) if self.early else np.full(len(finished), -np.inf)

    def bound(self, scores: Floats, limits: Ints, length: int) -> Floats:
        """Returns what nothing that grows can beat.

        The sum of log p is negative and only falls; so the best that can become of s is s / penalty(n) at the length n
        that has the greatest penalty: the greatest length if a > 0, the very next one if a < 0.
        """
        a = self.config.length_penalty
        lengths = limits if a >= 0 else np.full_like(limits, length + 1)
        return scores / penalty(lengths, a, self.config.length_norm) * (1 - 1e-12)  # a little above, for rounding


class Refilling:
    """A beam that fills the places of what ends, as in fairseq and transformers, whose `early_stopping` this obeys."""

    refills = True

    def __init__(self, config: GenerateConfig) -> None:
        self.config = config

    def choices(self, width: int, ends: int) -> int:
        """Returns so many that K are left to grow, should every end of every hypothesis be among them."""
        return max(2, 1 + ends) * width

    def bar(self, finished: list[list[Hypothesis]]) -> Floats:
        full = np.array([len(row) >= self.config.beam_size for row in finished])
        if self.config.early_stopping == "full":
            return np.where(full, np.inf, -np.inf)
        return worst(finished, self.config, self.config.beam_size)

    def bound(self, scores: Floats, limits: Ints, length: int) -> Floats:
        """Returns the rank at the present length; "never" with a > 0: at the greatest one, which nothing can beat."""
        a = self.config.length_penalty
        longest = self.config.early_stopping == "never" and a > 0
        return scores / penalty(limits if longest else np.full_like(limits, length), a, self.config.length_norm)


def worst(finished: list[list[Hypothesis]], config: GenerateConfig, count: int) -> Floats:
    """Returns (S,) the rank of the last of the `count` best; -inf where so many have not ended."""
    a, norm = config.length_penalty, config.length_norm
    return np.array([row[count - 1].normalised(a, norm) if len(row) >= count else -np.inf for row in finished])
