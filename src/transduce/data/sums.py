"""The data set of sums, which needs no file: "372+845", to be answered by the digits of 1217."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from transduce.data.columns import SOURCE, TARGET, Columns
from transduce.data.source import DataConfig
from transduce.errors import UserError, require_at_least, require_at_most

MOST = 10_000_000  # sums of all splits, which stay in memory
DIGITS = 9  # so that a sum, and a number for each pair, fit 64 bits


@dataclass(frozen=True, kw_only=True)
class Sums(DataConfig):
    """Sums of two numbers of `digits` digits, made from a seed, without files or network.

    No two are of the same two numbers, in either order, so what is validated was never seen.

    seed: of the numbers.
    digits: of each number, the first of which is not 0.
    reverse: an answer is written from its last digit to its first, as people add: each digit follows from the two above
        it and what is carried, which is known by then (Lee et al. 2023, arXiv:2307.03381).
    train_size: sums to train on.
    valid_size: sums to validate on.
    test_size: sums to test on at the end.
    """

    kind: ClassVar[str] = "sums"
    task: ClassVar[str] = "translate"
    seed: int = 0
    digits: int = 3
    reverse: bool = True
    train_size: int = 50_000
    valid_size: int = 1000
    test_size: int = 1000

    def __post_init__(self) -> None:
        require_at_least(0, seed=self.seed, valid_size=self.valid_size, test_size=self.test_size)
        require_at_least(1, digits=self.digits, train_size=self.train_size)
        require_at_most(DIGITS, digits=self.digits)
        count, numbers = sum(self.sizes.values()), 9 * 10 ** (self.digits - 1)
        there = min(numbers * (numbers + 1) // 4, MOST)  # half of all pairs: the last ones take long to draw
        if count > there:
            raise UserError(
                f"train_size, valid_size and test_size ask for {count:,} sums of digits={self.digits}; "
                f"use at most {there:,} together"
            )

    @property
    def gives(self) -> tuple[str, ...]:
        return SOURCE, TARGET

    @property
    def sizes(self) -> dict[str, int]:
        return {"train": self.train_size, "valid": self.valid_size, "test": self.test_size}

    def files_read(self) -> list[Path]:
        """Returns no files: the sums follow from these numbers."""
        return []

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns the splits."""
        splits, pairs, start = dict[str, Columns](), self.pairs(sum(self.sizes.values())), 0
        for split, size in self.sizes.items():
            if size:
                rows = pairs[start : start + size].tolist()
                answers = [str(a + b)[:: -1 if self.reverse else 1] for a, b in rows]
                splits[split] = Columns({SOURCE: [f"{a}+{b}" for a, b in rows], TARGET: answers})
            start += size
        return splits

    def pairs(self, count: int) -> NDArray[np.int64]:
        """Returns (count, 2) numbers, no two rows of which hold the same ones."""
        rng, low, high = np.random.default_rng(self.seed), 10 ** (self.digits - 1), 10**self.digits
        out = np.zeros((0, 2), dtype=np.int64)
        while len(out) < count:
            out = np.concatenate([out, rng.integers(low, high, (count, 2))])
            _, first = np.unique(out.min(1) * high + out.max(1), return_index=True)
            out = out[np.sort(first)]
        return out[:count]
