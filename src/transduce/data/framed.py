"""Rows of one text or of two with special tokens around them, and what belongs to each row or to each of its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transduce.data.examples import Index, Ragged
from transduce.data.pieces import Pieces, Spans, padded, tensor
from transduce.model.batch import Batch
from transduce.model.layout import Marks


class Frame(NamedTuple):
    """The special tokens around a text, and between two of them.

    kind: the type of each token of a second text, and of what stands behind it; 0: as the first.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    kind: int = 0

    def beside(self, *, two: bool) -> int:
        """Returns how many special tokens a row has. two: it has two texts."""
        return len(self.before) + len(self.after) + (len(self.between) if two else 0)

    def row(self, first: Sequence[int], second: Sequence[int] | None = None) -> "Row":
        """Returns a row of one text, or of two."""
        if second is None:
            return Row([*self.before, *first, *self.after], 0, len(self.before))
        head = [*self.before, *first, *self.between]
        tail = len(second) + len(self.after)
        return Row([*head, *second, *self.after], tail if self.kind else 0, len(head), self.kind)

    def cut(self, first: Sequence[int], second: Sequence[int] | None, limit: int) -> "Row":
        """Returns a row of at most `limit` tokens: of two texts the longer one loses its end first."""
        over = self.beside(two=second is not None) + len(first) + len(second or ()) - limit
        if over > 0 and second is None:
            first = first[: max(len(first) - over, 0)]
        elif over > 0 and second is not None:
            room = max(len(first) + len(second) - over, 0)
            short = min(len(first), len(second), room // 2)
            sizes = (room - short, short) if len(first) >= len(second) else (short, room - short)
            first, second = first[: sizes[0]], second[: sizes[1]]
        return self.row(first, second)


class Row(NamedTuple):
    """A row as a model reads it.

    tail: tokens at its end of another type. place: where the last of its texts begins. kind: the type of the tail.
    """

    ids: list[int]
    tail: int
    place: int
    kind: int = 0

    @property
    def types(self) -> list[int] | None:
        """Returns the type of each token; None: all are 0."""
        return [*[0] * (len(self.ids) - self.tail), *[self.kind] * self.tail] if self.tail else None


@dataclass(frozen=True)
class FramedPieces(Pieces):
    """Rows with their targets.

    types: of the tokens (None: all are 0). values: (pieces, ...), of each row. slots: of each token, -1 for none; then
    they are the targets. weights: of each row's target (None: 1).
    """

    types: Spans | None
    values: NDArray[Any]
    slots: Spans | None = None
    weights: NDArray[np.float32] | None = None

    def padded(self, chosen: Index) -> Batch:
        inputs, layout = padded(self.target, chosen, self.pad)
        if self.types is not None:
            layout = layout._replace(marks=Marks(padded(self.types, chosen, 0)[0]))
        targets = tensor(self.values[chosen]) if self.slots is None else padded(self.slots, chosen, -1)[0]
        weights = None if self.weights is None else tensor(self.weights[chosen])
        return Batch(inputs, layout, targets, weights=weights, examples=self.named(chosen))

    def packed(self, rows: list[Index]) -> Batch:
        raise AssertionError("rows with targets of their own are not packed")


def framed(
    rows: Sequence[Row], example: Index, pad: int, values: NDArray[Any], slots: Sequence[Sequence[int]] | None = None,
    weights: NDArray[np.float32] | None = None,
) -> FramedPieces:  # fmt: skip
    """Returns rows as pieces. example: of which each is. values, slots, weights: see `FramedPieces`."""
    ids = Ragged.of([row.ids for row in rows])
    side = Spans(ids.flat, ids.offsets[:-1], ids.lengths)
    types = None
    if any(row.tail for row in rows):
        kinds = Ragged.of([row.types or [0] * len(row.ids) for row in rows])
        types = Spans(kinds.flat, ids.offsets[:-1], ids.lengths)
    marks = None if slots is None else Spans(Ragged.of(slots).flat, ids.offsets[:-1], ids.lengths)
    return FramedPieces(side, example, pad, types, values, marks, weights)
