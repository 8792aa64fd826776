"""Texts with the class of each: how much each counts, and long ones in windows.

Tested in tests/tasks/test_windows.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from transduce.config import nearest
from transduce.data import pieces
from transduce.data.columns import TEXT
from transduce.data.examples import Index, Ragged
from transduce.data.framed import Frame, FramedPieces, Row, framed
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.readers.labels import SHOWN
from transduce.data.rows import Padded, Rows
from transduce.data.windows import windows
from transduce.errors import UserError


@dataclass(frozen=True)
class Labelled:
    """Texts as ids, with the special tokens around them, and the class of each as a number."""

    beside: ClassVar[int] = 0  # tokens of a row that are not among its ids

    texts: Ragged
    classes: Index
    frame: Frame
    pad: int
    window: int | None = None
    stride: int = 0
    weights: NDArray[np.float32] | None = None  # of each text; None: 1

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {TEXT: self.texts}

    def cuts(self, config: BatchConfig) -> bool:
        return self.window is None

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            raise UserError("batch.packing=true puts several texts in a row, but a label belongs to one; leave it out")
        if self.window is None and self.weights is None:
            after = len(self.frame.after)
            rows = pieces.with_values(self.texts, self.classes, self.pad, config.max_length, after, drop)
            return Padded(rows, config.batch_tokens)
        return Padded(self.weighted(config.max_length, drop), config.batch_tokens)

    def weighted(self, limit: int, drop: bool) -> FramedPieces:
        """Returns the windows of every text, which share its weight, or the text as one row."""
        if self.window is not None and self.window > limit:
            raise UserError(f"task.window={self.window} is more than batch.max_length={limit}; raise that, or lower it")
        rows, example, weights = list[Row](), list[int](), list[float]()
        stop = -len(self.frame.after) or None
        for i in range(len(self)):
            ids: list[int] = self.texts[i][len(self.frame.before) : stop].tolist()
            if self.window is not None:
                own = in_windows(ids, self.frame, self.window, self.stride)
            else:
                own = [self.frame.cut(ids, None, limit)]
            if drop and self.window is None and len(self.texts[i]) > limit:
                continue
            rows += own
            example += [i] * len(own)
            weights += [(1.0 if self.weights is None else float(self.weights[i])) / len(own)] * len(own)
        parts = np.array(example, dtype=np.int64)
        return framed(rows, parts, self.pad, self.classes[parts], weights=np.array(weights, dtype=np.float32))


def in_windows(ids: Sequence[int], frame: Frame, size: int, stride: int) -> list[Row]:
    """Returns a text as rows of at most `size` tokens, special ones included; neighbours share `stride`."""
    parts = windows(len(ids), size - frame.beside(two=False), stride)
    return [frame.row(ids[part.start : part.stop]) for part in parts]


def weights_of(
    weights: dict[str, float] | Literal["balanced"], names: tuple[str, ...], classes: Index
) -> NDArray[np.float32]:  # fmt: skip
    """Returns how much each row counts: (rows,). Raises UserError.

    balanced: rows / (labels x rows of that label), of mean 1 over the rows.
    """
    if weights == "balanced":
        counts = np.bincount(classes, minlength=len(names))
        if missing := [name for name, count in zip(names, counts.tolist(), strict=True) if not count]:
            what = f"task.class_weights=balanced, but train has no row with the label {missing[0]!r}"
            raise UserError(f"{what}; add some, or give weights by label, such as task.class_weights.{names[0]}=2")
        each = len(classes) / (len(names) * counts)
    else:
        for name, weight in weights.items():
            if name not in names:
                close = nearest(name, list(names))
                way = f"did you mean {close!r}?" if close else f"the labels are {', '.join(names[:SHOWN])}"
                raise UserError(f"task.class_weights has the label {name!r}, which train has not; {way}")
            if not 0 < weight < float("inf"):
                raise UserError(f"task.class_weights.{name}={weight:g} must be more than 0, such as 2")
        each = np.array([weights.get(name, 1.0) for name in names])
    return each[classes].astype(np.float32)
