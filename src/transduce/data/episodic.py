"""Episodes as a model reads them: rows of some steps, each step three slots."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transduce.data import order, pieces
from transduce.data.examples import Index, Ragged
from transduce.data.loader import BatchConfig, require_no_carry
from transduce.data.rows import POOL, Rows
from transduce.data.tracks import STATES
from transduce.errors import UserError
from transduce.model.batch import SLOTS, Batch, Steps, Value
from transduce.model.layout import dense, right_padded


class Stepwise(ABC):
    """Episodes that are read in rows of at most `context` steps. slots: of a step."""

    context: int

    @property
    @abstractmethod
    def slots(self) -> int: ...

    @property
    @abstractmethod
    def ids(self) -> Mapping[str, Ragged]: ...

    @abstractmethod
    def fill(self, at: Index, real: NDArray[np.bool_], episodes: Index) -> tuple[Value, Any]:
        """Returns inputs and targets of (B, T) steps, of which some are real. episodes: (B,), that of each row."""

    @property
    def steps(self) -> Ragged:
        """Returns something of every step of each episode."""
        return next(iter(self.ids.values()))

    def __len__(self) -> int:
        return len(self.steps)

    def cuts(self, config: BatchConfig) -> bool:
        return False

    def rows(self, config: BatchConfig, *, drop: bool) -> Rows[Any]:
        require_no_carry(config)
        if config.packing:
            raise UserError("batch.packing=true puts several texts in a row, but an episode has its own; leave it out")
        if config.max_length < (slots := self.slots * self.context):
            what = f"task.context={self.context} steps take {slots} slots, but batch.max_length={config.max_length}"
            raise UserError(f"{what}; raise it to {slots}, or lower task.context")
        return EpisodeRows(self, config.batch_tokens)


@dataclass(frozen=True)
class Episodic(Stepwise):
    """Episodes, one behind the other.

    states: (steps, S) float32 of each episode.
    actions: (steps,) int64, or (steps, A) float32.
    returns: (steps, 1) float32, returns-to-go.
    targets: (steps,) or (steps, A) int64 classes or bins, or (steps, A) float32.
    context: steps of a row.
    """

    states: Ragged
    actions: NDArray[Any]
    returns: NDArray[np.float32]
    targets: NDArray[Any]
    context: int

    @property
    def slots(self) -> int:
        return SLOTS

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {STATES: self.states}

    def fill(self, at: Index, real: NDArray[np.bool_], episodes: Index) -> tuple[Value, Any]:
        times = np.where(real, at - self.states.offsets[episodes][:, None], 0)
        earned, states, actions = (cut(x, at, real) for x in (self.returns, self.states.flat, self.actions))
        return Steps(earned, states, actions, pieces.tensor(times)), cut(self.targets, at, real, -1)


class EpisodeRows:
    """Rows of at most `context` steps. A group is (B, 3): where its steps begin and end, and its episode.

    An episode of more steps is cut somewhere else in every epoch, so that a step is read with all lengths of history.
    """

    def __init__(self, examples: Stepwise, budget: int) -> None:
        self.examples, self.budget, self.most, self.slots = examples, budget, examples.context, examples.slots
        self.steps = examples.steps

    @property
    def shape(self) -> tuple[int, int]:
        lengths = np.minimum(self.steps.lengths, self.most)
        return 0, self.slots * round(float(lengths.mean()))

    def plan(self, rng: np.random.Generator) -> list[Index]:
        lengths = self.steps.lengths
        ahead = np.where(lengths > self.most, rng.integers(self.most, size=len(lengths)), 0)
        parts = self.parts(ahead)
        none, slots = np.zeros(len(parts), dtype=np.int64), self.slots * (parts[:, 1] - parts[:, 0])
        batches = order.cut(order.bucket(none, slots, rng, POOL), none, slots, self.budget)
        return [parts[batches[i]] for i in rng.permutation(len(batches))]

    def fixed(self) -> list[Index]:
        parts = self.parts(np.zeros(len(self.examples), dtype=np.int64))
        none, slots = np.zeros(len(parts), dtype=np.int64), self.slots * (parts[:, 1] - parts[:, 0])
        return [parts[some] for some in order.cut(np.argsort(slots, kind="stable"), none, slots, self.budget)]

    def parts(self, ahead: Index) -> Index:
        """Returns (parts, 3): every episode in pieces, of which the first has `ahead` steps less than the others."""
        lengths, offsets = self.steps.lengths, self.steps.offsets[:-1]
        counts = -(-(lengths + ahead) // self.most)
        episode = np.repeat(np.arange(len(lengths), dtype=np.int64), counts)
        number = np.arange(len(episode), dtype=np.int64) - np.repeat(counts.cumsum() - counts, counts)
        start = (number * self.most - ahead[episode]).clip(min=0)
        stop = np.minimum((number + 1) * self.most - ahead[episode], lengths[episode])
        return np.stack([offsets[episode] + start, offsets[episode] + stop, episode], 1)

    def build(self, group: Index) -> Batch:
        examples, (starts, stops, episodes) = self.examples, group.T
        lengths = stops - starts
        columns = np.arange(int(lengths.max()), dtype=np.int64)
        real = columns < lengths[:, None]
        at = np.where(real, starts[:, None] + columns, 0)
        inputs, targets = examples.fill(at, real, episodes)
        whole, slots = bool(lengths.min() == len(columns)), self.slots * len(columns)
        layout = dense(len(group), slots) if whole else right_padded(pieces.tensor(self.slots * lengths), slots)
        return Batch(inputs, layout, targets, examples=tuple(episodes.tolist()))


def cut(values: NDArray[Any], at: Index, real: NDArray[np.bool_], fill: int = 0) -> Any:
    """Returns the tensor of values at (B, T) places, with `fill` where there is no step."""
    out = values[at]
    out[~real] = fill
    return pieces.tensor(out)
