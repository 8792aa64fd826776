"""A stream read in lanes: each batch goes on where the one before it ended."""

from typing import NamedTuple

import numpy as np

from transduce.data import pieces
from transduce.data.examples import Ids, Index
from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.layout import Layout, dense


class Strip(NamedTuple):
    """One batch: the next tokens of every lane.

    starts: (R,), where each begins in the stream.
    lengths: (R,), how many tokens each has.
    """

    starts: Index
    lengths: Index
    offset: int  # of the first token, from the beginning of its lane


class Lanes:
    """A stream cut into as many equal lanes as fit a batch, read side by side, `width` tokens at a time.

    What a model remembers at the end of a batch is what it needs at the beginning of the next one: back-propagation is
    cut there, memory is not (Mikolov et al. 2010; Dai et al. 2019, arXiv:1901.02860, sec. 3.2).
    """

    def __init__(self, stream: Ids, budget: int, width: int) -> None:
        self.stream, self.width, self.rows = stream, width, max(1, budget // width)

    @property
    def shape(self) -> tuple[int, int]:
        return 0, self.width

    @property
    def longest(self) -> int:
        """Returns tokens of a lane."""
        return -(-(len(self.stream) - 1) // self.rows)

    def plan(self, rng: np.random.Generator) -> list[Strip]:
        """Returns whole strips only; each epoch begins a few tokens later than the first could. Raises UserError."""
        room = len(self.stream) - 1
        if room < self.rows * self.width:
            raise UserError(
                f"the training text has {len(self.stream)} tokens, but one batch of batch.carry=true takes "
                f"{self.rows * self.width + 1} that lie in {self.rows} places; lower batch.batch_tokens"
            )
        first = int(rng.integers(min(self.width, room - self.rows * self.width + 1)))
        lane = (room - first) // self.rows
        starts, lengths = first + lane * np.arange(self.rows), np.full(self.rows, self.width)
        return [Strip(starts + at, lengths, at) for at in range(0, lane - self.width + 1, self.width)]

    def fixed(self) -> list[Strip]:
        """Returns strips in which every token but the first is a target once. Raises UserError."""
        room = len(self.stream) - 1
        if room < 1:
            raise UserError(f"the text has {len(self.stream)} tokens, but predicting takes two; give a longer text")
        rows = max(1, min(self.rows, room // self.width))
        lane = -(-room // rows)
        starts = lane * np.arange(rows)
        ends = np.minimum(starts + lane, room)
        return [
            Strip(np.minimum(starts + at, room), np.clip(ends - starts - at, 0, self.width), at)
            for at in range(0, lane, self.width)
        ]

    def build(self, group: Strip) -> Batch:
        tokens = int(group.lengths.max())
        slots, last = np.arange(tokens), len(self.stream) - 1
        at: Index = group.starts[:, None] + slots
        inputs = self.stream[np.minimum(at, last)].astype(np.int64)
        targets = self.stream[np.minimum(at + 1, last)].astype(np.int64)
        layout = dense(len(group.starts), tokens, group.offset)
        if int(group.lengths.min()) < tokens:
            real = slots < group.lengths[:, None]
            targets[~real] = -1
            positions = np.where(real, slots + group.offset, -1)
            layout = Layout(pieces.tensor(positions), lengths=pieces.tensor(group.lengths))
        examples = tuple(group.starts.tolist())
        return Batch(pieces.tensor(inputs), layout, pieces.tensor(targets), examples=examples, offset=group.offset)
