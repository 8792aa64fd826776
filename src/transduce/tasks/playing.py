"""The part that tasks share which act: episodes in, episodes out, and the world that a model plays in.

Tested in tests/tasks/test_act.py.
"""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, cast

import numpy as np

from transduce.config import from_data
from transduce.data.columns import Columns
from transduce.data.examples import Ragged
from transduce.data.readers.reader import Readers
from transduce.data.source import DataConfig
from transduce.data.tracks import ACTIONS, REWARDS, STATES, tracks
from transduce.errors import UserError, require_at_least
from transduce.generate.config import GenerateConfig
from transduce.model.models import Model
from transduce.tasks.acting import Played, Player, Target, play
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.measures.returns import MeanReturn, Reached
from transduce.tasks.task import Split, TaskConfig, spread
from transduce.worlds.world import WorldConfig

COLUMNS = (STATES, ACTIONS, REWARDS)
SHOWN = 8  # actions of a sample


class PlayingConfig(TaskConfig):
    """The methods that tasks share which act. Their keys have the places that each task gives them in its files."""

    reads: ClassVar[tuple[str, ...]] = COLUMNS
    verb: ClassVar[str] = "act"
    shape: ClassVar[str] = "decoder"
    unit: ClassVar[str] = "action"
    gives: ClassVar[str] = "episode"
    refusal: ClassVar[str] = "this model was trained to act; use act"
    reads_text: ClassVar[bool] = False
    takes_inputs: ClassVar[bool] = False
    acts: ClassVar[bool] = True
    best: float
    context: int
    world: WorldConfig | None
    trials: int

    def __post_init__(self) -> None:
        require_at_least(1, context=self.context, trials=self.trials)
        if not 0 < self.best <= 1:
            raise UserError(f"task.best={self.best} is a share of the episodes, above 0 and at most 1, such as 0.1")

    def suited(self, data: DataConfig) -> Self:
        own = super().suited(data)
        return own if own.world is not None else replace(own, world=getattr(data, "world", None))

    @abstractmethod
    def player(self, model: Model, readers: Readers, episodes: int, context: int | None) -> Player:
        """Returns who acts in some episodes at once. context: of steps (None: that of the task). Raises UserError."""

    @abstractmethod
    def asked(self, target: Target, horizon: int | None, beam_size: int | None) -> Self:
        """Returns the task as a user asks for it (None: as it was trained). Raises UserError."""

    def learnt(self, columns: Columns) -> Columns:
        """Returns the episodes of the highest returns, the share `best` of all."""
        if self.best == 1 or not len(columns):
            return columns
        returns = np.array([float(x.sum()) for x in tracks(columns[REWARDS], REWARDS, 1)])
        count = max(1, round(self.best * len(returns)))
        return columns.take(sorted(np.argsort(-returns, kind="stable")[:count].tolist()))

    def measures(self) -> tuple[Measure, ...]:
        if self.world is None:
            return ()
        return (MeanReturn(), Reached()) if self.world.goal else (MeanReturn(),)

    def inputs(self, columns: Columns) -> Sequence[Any]:
        return [*zip(*(columns[name] for name in COLUMNS), strict=True)]

    def line(self, prediction: Sequence[Any]) -> str:
        return " ".join(json.dumps(action).replace(" ", "") for action in prediction)

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns episodes that are played in the world; where there is none, recorded ones beside what it would do."""
        if self.world is not None:
            count = self.trials if limit is None else min(limit, self.trials)
            some = play(self, model, readers, self.world, episodes=count) if count else []
            return [Sample(f"episode {i}, asked for {one.target:g}", "", outcome(one), beside=one)
                    for i, one in enumerate(some, 1)]  # fmt: skip
        columns = split.columns.take(spread(len(split.columns), limit))
        answers = self.predict(model, readers, self.inputs(columns), options)
        wanted = [x.tolist() for x in tracks(columns[ACTIONS], ACTIONS)]
        return [Sample(f"an episode of {len(one)} steps", self.line(own[:SHOWN]), self.line(one[:SHOWN]), one)
                for own, one in zip(wanted, answers, strict=True)]  # fmt: skip


def columns_of(inputs: Sequence[Any]) -> Columns:
    """Returns recorded episodes, each in one of its forms, as columns. Raises UserError."""
    rows = [episode(one, number) for number, one in enumerate(inputs, 1)]
    return Columns({name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)})


def require_alike(columns: Mapping[str, Ragged]) -> None:
    """Raises UserError where an episode has not as many of each."""
    states = columns[STATES]
    for name in (ACTIONS, REWARDS):
        if (odd := np.flatnonzero(states.lengths != columns[name].lengths)).size:
            row = int(odd[0])
            what = f"episode {row + 1} has {states.lengths[row]} states and {columns[name].lengths[row]} {name}"
            raise UserError(f"{what}; give every step one of each")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A world by its kind."""

    world: WorldConfig


def world_of(task: PlayingConfig, world: str | WorldConfig | None) -> WorldConfig:
    """Returns the world of that kind; the one that the episodes come from, if it is of this kind. Raises UserError."""
    if isinstance(world, WorldConfig):
        return world
    if world is None and task.world is None:
        raise UserError("this model has learnt from files, so no world is known; name one, such as --world graph")
    if task.world is not None and world in (None, task.world.kind):
        return task.world
    return from_data(Chosen, {"world": world}).world


def outcome(played: Played) -> str:
    """Returns what became of an episode, as text."""
    goal = {None: "", True: ", reached", False: ", not reached"}[played.reached]
    return f"return {played.returned:g} in {played.steps} steps{goal}"


def episode(one: Any, number: int) -> tuple[Any, ...]:
    """Returns states, actions and rewards of an episode that is given in one of its forms. Raises UserError."""
    try:
        one = json.loads(one) if isinstance(one, str) else one
    except ValueError:
        one = None
    if isinstance(one, Mapping):
        one = [cast("Mapping[str, Any]", one).get(name) for name in COLUMNS]
    if not isinstance(one, Sequence) or len(row := cast("Sequence[Any]", one)) != len(COLUMNS):
        way = '{"states": [[...], ...], "actions": [...], "rewards": [...]}'
        raise UserError(f"input {number} is no episode; write it as {way}")
    return tuple(row)
