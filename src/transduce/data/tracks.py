"""A series of numbers as one cell of a table: what an episode holds of one thing, step by step.

Tested in tests/data/test_episodes.py.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transduce.errors import UserError

STATES, ACTIONS, REWARDS = "states", "actions", "rewards"  # the columns of episodes


@dataclass(frozen=True, eq=False)
class Track:
    """Numbers of an episode: (T,), or (T, F) where a step has several."""

    numbers: NDArray[Any]

    @cached_property
    def mark(self) -> str:
        """Returns a sum of the numbers, which tells them from others."""
        return hashlib.blake2b(f"{self.numbers.shape}".encode() + self.numbers.tobytes(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self.numbers)


def track(cell: Any, column: str, row: int) -> NDArray[np.float64]:
    """Returns the (T, F) numbers of a cell; of one number a step, F is 1. Raises UserError, naming the row.

    cell: a track, an array, a list with a number or a list of numbers for each step, or such a list as JSON.
    """
    where = f"row {row} of the column `{column}`"
    try:
        cell = json.loads(cell) if isinstance(cell, str) else cell
        values = np.asarray(cell.numbers if isinstance(cell, Track) else cell, dtype=np.float64)
    except (TypeError, ValueError, RecursionError):
        way = "write a list with a number for each step, or with a list of numbers, all equally long"
        raise UserError(f"{where} is no series of numbers: {str(cell)[:40]}; {way}") from None
    if values.ndim not in (1, 2) or not values.size:
        shape = " x ".join(map(str, values.shape)) or "one number"
        raise UserError(f"{where} is {shape}, but a series is one number a step, or several; write [1, 2] or [[1, 2]]")
    values = values.reshape(len(values), -1)
    if not np.isfinite(values).all():
        step = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
        raise UserError(f"{where} has {values[step].min()} at step {step + 1}; correct it, or leave the episode out")
    return values


def tracks(values: Sequence[Any], column: str, width: int | None = None) -> list[NDArray[np.float64]]:
    """Returns the (T, F) numbers of every row. Raises UserError where rows differ in F.

    width: the numbers of a step (None: as many as the first row has).
    """
    out = list[NDArray[np.float64]]()
    for row, cell in enumerate(values, 1):
        out.append(track(cell, column, row))
        expected = out[0].shape[1] if width is None else width
        if out[-1].shape[1] != expected:
            what = f"row {row} of the column `{column}` has {out[-1].shape[1]} numbers a step"
            where = "those before have" if width is None else "the training data has"
            raise UserError(f"{what}, but {where} {expected}; correct it, or leave the episode out")
    return out
