"""Planning: a beam over steps that a model of trajectories foresees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from transduce.data.flattened import Code
from transduce.data.pieces import tensor
from transduce.errors import UserError, require_at_least
from transduce.generate.decode import one_thread
from transduce.generate.packed import reader
from transduce.generate.reading import read_prompts
from transduce.model.cache import take
from transduce.model.layout import one_each
from transduce.model.models import Model
from transduce.model.ops.rows import rows_alike

Ids = NDArray[np.int64]
Numbers = NDArray[np.float64]
AT_ONCE = 4096  # trajectories that are continued together


@dataclass(frozen=True, kw_only=True)
class Beam:
    """The width and the depth of a search.

    horizon: steps that are foreseen.
    size: trajectories that are continued after each step.
    branches: actions that are tried after each of them, the likeliest.
    min_p: an action must be at least so likely, as a share of the likeliest one's probability.
    discount: of what is earned a step later.
    """

    horizon: int = 10
    size: int = 32
    branches: int = 8
    min_p: float = 0.1
    discount: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(1, horizon=self.horizon, beam_size=self.size, branches=self.branches)
        if not 0 <= self.min_p <= 1:
            raise UserError(f"min_p={self.min_p} must be between 0 and 1; use 0.1, or 0 for all actions")
        if not 0 <= self.discount <= 1:
            raise UserError(f"discount={self.discount} must be between 0 and 1; use 0.99, or 1 for none")


class Plan(NamedTuple):
    """A trajectory: the ids that follow what was given, and sum_k d^k reward_k + d^n value of its n steps."""

    ids: list[int]
    score: float


class Walk:
    """Trajectories that a model goes on with, id by id.

    owner: (R,) the row that each goes on from. ids: (R, T) those that follow it. earned: (R,) rewards so far,
    discounted.
    """

    def __init__(self, model: Model, given: Ids, most: int) -> None:
        self.model, room = model, given.shape[1] + most
        self.hidden, self.state, self.positions = read_prompts(model, given.tolist(), room, None, same=True)
        self.owner, self.ids, self.earned = np.arange(len(given)), given[:, :0], np.zeros(len(given))

    def go(self, rows: Ids, ids: Ids) -> None:
        """Goes on from some trajectories, with an id each."""
        if len(rows) != len(self.owner) or (np.diff(rows) != 1).any():
            index = tensor(rows).to(self.model.device)
            self.state, self.positions = take(self.state, index), self.positions[index]
        self.owner, self.earned = self.owner[rows], self.earned[rows]
        self.ids, self.positions = np.concatenate([self.ids[rows], ids[:, None]], 1), self.positions + 1
        hidden, self.state = self.model.step(
            tensor(ids[:, None]).to(self.model.device), one_each(self.positions), self.state
        )  # fmt: skip
        self.hidden = hidden[:, -1]

    def log_p(self, ids: Sequence[int]) -> Numbers:
        """Returns log p of each of some ids, given that it is one of them: (R, ids). Raises UserError."""
        logits = np.take(self.model.token_head(self.hidden).double().cpu().numpy(), ids, 1)
        if not np.isfinite(logits.max(1)).all():
            raise UserError("no probability of the model is finite, so its weights are not; use an earlier checkpoint")
        logits = logits - logits.max(1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))

    def act(self, slots: Sequence[range], beam: Beam) -> None:
        """Goes on with the likeliest actions of each trajectory, a beam search by likelihood over their numbers."""
        group, total = np.arange(len(self.owner)), np.zeros(len(self.owner))
        for slot in slots:
            log_p = total[:, None] + self.log_p(slot)
            chosen = highest(np.repeat(group, len(slot)), log_p.ravel(), beam.branches)
            group, total = np.repeat(group, len(slot))[chosen], log_p.ravel()[chosen]
            if slot == slots[-1]:
                likely = np.exp(total - total[np.searchsorted(group, group)]) >= beam.min_p
                chosen, group, total = chosen[likely], group[likely], total[likely]
            self.go(chosen // len(slot), chosen % len(slot) + slot.start)

    def expected(self, ids: Sequence[int], levels: Numbers) -> Numbers:
        """Returns the mean of the numbers (ids,) that some ids stand for, of each trajectory."""
        return (np.exp(self.log_p(ids)) * levels).sum(1)

    def guess(self, ids: Sequence[int]) -> Ids:
        """Returns the likeliest of some ids, of each trajectory."""
        return np.asarray(ids)[self.log_p(ids).argmax(1)]


def plan(model: Model, code: Code, given: Ids, levels: tuple[Numbers, Numbers], beam: Beam) -> list[Plan]:
    """Returns the best trajectory of each row. It depends on the weights and its own row alone, on a CPU to the bit.

    given: (B, T) ids, of whole steps and then of a state.
    levels: the numbers that ids of rewards, and of values, stand for.

    After each trajectory of the beam its likeliest actions are tried. Each gets a score, the rewards so far and the
    value, both as the model expects them; the best go on, with the likeliest reward and the likeliest next state. One
    that ends is set aside, with its rewards alone.   Janner, Li and Levine 2021, arXiv:2106.02039, sec. 3.2.
    """
    out, many, fast = list[Plan](), max(1, AT_ONCE // (beam.size * beam.branches)), reader(model)
    with torch.inference_mode(), rows_alike(True), one_thread(True):
        for start in range(0, len(given), many):
            out += search(fast, code, given[start : start + many], levels, beam)
    return out


def search(model: Model, code: Code, given: Ids, levels: tuple[Numbers, Numbers], beam: Beam) -> list[Plan]:
    """Returns the same, of rows that are continued together."""
    walk, best = Walk(model, given, beam.horizon * code.slots), [Plan([], -np.inf)] * len(given)
    slots = [range(start, start + size) for start, size in zip(code.starts, code.sizes, strict=True)]
    states, (reward, value) = slots[: code.states], slots[-2:]
    for depth in range(beam.horizon):
        walk.act(slots[code.states : -2], beam)
        walk.earned = walk.earned + beam.discount**depth * walk.expected(reward, levels[0])
        walk.go(np.arange(len(walk.owner)), walk.guess(reward))
        scores = walk.earned + beam.discount ** (depth + 1) * walk.expected(value, levels[1])
        rows = highest(walk.owner, scores, beam.size)
        if depth + 1 == beam.horizon:
            better(best, walk, rows, scores)
            break
        walk.go(rows, np.full(len(rows), code.blank))
        first = walk.guess([*states[0], code.end])
        better(best, walk, np.flatnonzero(first == code.end), walk.earned)
        if not (stay := np.flatnonzero(first != code.end)).size:
            break
        walk.go(stay, first[stay])
        for slot in states[1:]:
            walk.go(np.arange(len(walk.owner)), walk.guess(slot))
    return best


def better(best: list[Plan], walk: Walk, rows: Ids, scores: Numbers) -> None:
    """Puts some trajectories in the place of the best of their rows, where their scores are higher."""
    for row in rows.tolist():
        if scores[row] > best[owner := int(walk.owner[row])].score:
            best[owner] = Plan(walk.ids[row].tolist(), float(scores[row]))


def highest(groups: Ids, values: Numbers, most: int) -> Ids:
    """Returns the places of the `most` highest values of each group, group by group; of equal ones the first.

    groups: numbers, in ascending order.
    """
    order = np.lexsort((-values, groups))
    return order[np.arange(len(groups)) - np.searchsorted(groups, groups) < most]
