"""Acting by plans: a history of ids, and after every step the first action of the best trajectory that may follow.

Tested in tests/tasks/test_plan.py.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from transduce.data.flattened import Code
from transduce.data.readers.bins import Bins
from transduce.data.readers.reader import Readers
from transduce.data.tracks import ACTIONS, REWARDS, STATES
from transduce.generate.plan import Beam, plan
from transduce.model.models import Model


class Planner:
    """Plans in some episodes beside each other. Of their steps it reads those that leave room for the horizon.

    context: steps that the model reads, those that are foreseen included.
    history: (B, T) ids of the steps before, and of the state.
    actions: (B, numbers) ids that were chosen last.
    """

    def __init__(self, model: Model, readers: Readers, rows: int, context: int, beam: Beam) -> None:
        self.model, self.readers, self.code, self.beam = model, readers, code(readers), beam
        self.before = self.code.slots * (context - beam.horizon) + self.code.states
        self.own = slice(self.code.states, self.code.states + self.code.actions)
        self.history, self.actions = np.zeros((rows, 0), dtype=np.int64), np.zeros((rows, 0), dtype=np.int64)

    def act(self, states: NDArray[Any], returns: NDArray[Any], rewards: NDArray[Any]) -> NDArray[Any]:
        """(B, S) states, (B,) rewards of the step before -> the first action of each plan. Returns are not read."""
        starts, rewarded = np.array(self.code.starts), bins(self.readers, REWARDS)
        if self.history.size:
            ids = rewarded.ids(np.stack([rewards, rewards], 1))[:, :1] + starts[-2]
            self.history = np.concatenate([self.history, self.actions, ids, ids * 0 + self.code.blank], 1)
        here = bins(self.readers, STATES).encode([states], STATES).flat + starts[: self.code.states]
        self.history = np.concatenate([self.history, here], 1)
        levels = [np.asarray(one) for one in rewarded.levels]
        plans = plan(self.model, self.code, self.history[:, -self.before :], (levels[0], levels[1]), self.beam)
        self.actions = np.array([one.ids[: self.code.actions] for one in plans])
        actions = bins(self.readers, ACTIONS)
        numbers = actions.numbers(self.actions - starts[self.own])
        return numbers[:, 0].astype(np.int64) if actions.classes and not actions.places else numbers

    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with some of the rows."""
        self.history, self.actions = self.history[list(rows)], self.actions[list(rows)]


def bins(readers: Readers, column: str) -> Bins:
    return cast(Bins, readers[column])


def code(readers: Readers) -> Code:
    """Returns the ids of a step."""
    states, actions, rewards = (bins(readers, name).sizes for name in (STATES, ACTIONS, REWARDS))
    return Code((*states, *actions, *rewards), len(states), len(actions))


def after(rewards: NDArray[np.float64], discount: float) -> NDArray[np.float64]:
    """Returns sum_{s > t} discount^(s - t - 1) r_s of each step: (T, 1) -> (T, 1)."""
    out = np.zeros_like(rewards)
    for step in range(len(rewards) - 2, -1, -1):
        out[step] = rewards[step + 1] + discount * out[step + 1]
    return out
