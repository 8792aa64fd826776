"""Episodes as one stream of ids: every number of a state, an action and a reward is a token.

Tested in tests/data/test_flattened.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transduce.data.episodic import Stepwise
from transduce.data.examples import Index, Ragged
from transduce.data.pieces import tensor
from transduce.data.tracks import STATES
from transduce.model.batch import Value


class Code(NamedTuple):
    """The ids of a step: those of its state, of its action, of its reward, and of the value, which is what follows.

    sizes: ids of each slot of a step; no two slots share one.
    states: slots of the state.
    actions: slots of the action. The reward and the value have one slot each.
    """

    sizes: tuple[int, ...]
    states: int
    actions: int

    @property
    def slots(self) -> int:
        return len(self.sizes)

    @property
    def starts(self) -> list[int]:
        """Returns the first id of each slot."""
        return [0, *accumulate(self.sizes)][:-1]

    @property
    def end(self) -> int:
        """Returns the id that follows the last step."""
        return sum(self.sizes)

    @property
    def blank(self) -> int:
        """Returns the id that is read in the place of every value."""
        return self.end + 1

    @property
    def size(self) -> int:
        """Returns how many ids there are."""
        return self.end + 2


@dataclass(frozen=True)
class Flattened(Stepwise):
    """Episodes as ids, one behind the other. Every id is predicted from those before; no value is read.

    Janner, Li and Levine 2021, arXiv:2106.02039, sec. 3.1. There a mask hides values from what follows; here a blank
    stands in their place, so that any mixer will do.

    tokens: (steps, slots) int32 ids of each episode.
    """

    tokens: Ragged
    code: Code
    context: int

    @property
    def slots(self) -> int:
        return self.code.slots

    @property
    def ids(self) -> Mapping[str, Ragged]:
        return {STATES: self.tokens}

    def fill(self, at: Index, real: NDArray[np.bool_], episodes: Index) -> tuple[Value, Any]:
        ids, stops = self.tokens.flat, self.tokens.offsets[episodes + 1, None]
        after = np.where(at + 1 < stops, ids[np.minimum(at + 1, len(ids) - 1), 0], self.code.end)
        inputs = ids[at].astype(np.int64)
        targets = np.concatenate([inputs[..., 1:], after[..., None]], -1)
        inputs[..., -1] = self.code.blank
        inputs[~real], targets[~real] = 0, -1
        return tensor(inputs.reshape(len(at), -1)), tensor(targets.reshape(len(at), -1))
