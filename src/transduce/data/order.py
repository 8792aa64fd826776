"""The order of examples and which stand together in a batch: index arrays, nothing else.

Every function is pure; whatever is random comes from the generator passed in.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
G = TypeVar("G", bound=Any)  # a batch: an array or a list with one item per row


def bucket(source: Index, target: Index, rng: np.random.Generator, pool: int) -> Index:
    """Returns a shuffled order in which neighbours have like lengths on both sides. Lengths: (n,) -> (n,) indices.

    The shuffled examples are sorted in pools of `pool`: by source length, and within each source length by target
    length, up and down in turn, so that the border between two source lengths is smooth too. Ties stay shuffled.
    """
    order = rng.permutation(len(target))
    parts: list[Index] = []
    for start in range(0, len(order), pool):
        rows = order[start : start + pool]
        snake = np.where(source[rows] % 2 == 0, target[rows], -target[rows])
        parts.append(rows[np.lexsort((snake, source[rows]))])
    return np.concatenate(parts) if parts else order


def cut(order: Index, source: Index, target: Index, budget: int) -> list[Index]:
    """Returns batches of consecutive examples whose slots, rows * (longest source + longest target), fit `budget`.

    A single example above the budget is a batch of its own.
    """
    batches: list[Index] = []
    start = widest_source = widest_target = 0
    for i, (s, t) in enumerate(zip(source[order].tolist(), target[order].tolist(), strict=True)):
        wider_source, wider_target = max(s, widest_source), max(t, widest_target)
        if i > start and (i + 1 - start) * (wider_source + wider_target) > budget:
            batches.append(order[start:i])
            start, wider_source, wider_target = i, s, t
        widest_source, widest_target = wider_source, wider_target
    if start < len(order):
        batches.append(order[start:])
    return batches


def pack(order: Index, source: Index, target: Index, capacity: int, open_rows: int = 64) -> list[Index]:
    """Returns rows of several examples each, at most `capacity` slots on either side. In the given order, first fit.

    At most `open_rows` rows wait for more; then the one that has waited longest is closed.
    """
    rows: list[list[int]] = []
    waiting: list[tuple[int, int, list[int]]] = []  # room on the source side, on the target side, examples
    for i, s, t in zip(order.tolist(), source[order].tolist(), target[order].tolist(), strict=True):
        for at, (source_room, target_room, row) in enumerate(waiting):
            if s <= source_room and t <= target_room:
                row.append(i)
                waiting[at] = (source_room - s, target_room - t, row)
                break
        else:
            if len(waiting) == open_rows:
                rows.append(waiting.pop(0)[2])
            waiting.append((capacity - s, capacity - t, [i]))
    rows += [row for _, _, row in waiting]
    return [np.array(row, dtype=np.int64) for row in rows]


def even(batches: Sequence[G], ranks: int) -> list[G]:
    """Returns the same rows in a number of batches that `ranks` divides: the fullest batches are halved until it does.

    Where there are too few rows for that, some batches are left over, and they are nobody's.
    """
    out = list(batches)
    while len(out) % ranks and max(map(len, out)) > 1:
        widest = max(range(len(out)), key=lambda i: len(out[i]))
        half = len(out[widest]) // 2
        out[widest : widest + 1] = [out[widest][:half], out[widest][half:]]
    return out
