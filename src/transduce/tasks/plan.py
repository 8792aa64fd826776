"""Planning: whole episodes are learnt, and the best that may follow is searched for.

Tested in tests/tasks/test_plan.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np

from transduce.data.columns import Columns
from transduce.data.examples import Ragged
from transduce.data.flattened import Flattened
from transduce.data.readers.bins import Bins
from transduce.data.readers.reader import Reader, Readers
from transduce.data.tracks import ACTIONS, REWARDS, STATES, tracks
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.plan import Beam
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.embed.table import Table
from transduce.model.models import Model
from transduce.tasks.acting import Player, Target
from transduce.tasks.measures.measure import Sample
from transduce.tasks.planner import Planner, after, bins, code
from transduce.tasks.playing import PlayingConfig, columns_of, require_alike
from transduce.tasks.task import Split
from transduce.worlds.world import WorldConfig


@dataclass(frozen=True, kw_only=True)
class PlanConfig(PlayingConfig):
    """Episodes as ids, each predicted from those before: a Trajectory Transformer.   Janner, Li and Levine 2021.

    arXiv:2106.02039. To act, a beam over steps looks for the highest return; the first action of the best trajectory is
    taken, and after it all is searched anew.

    best: the share of the episodes that is learnt from, those of the highest return.
    context: steps of a row, those that are foreseen included.
    bins: ids of a number that has more values than that.
    edges: of bins that are equally wide ("uniform"), or that equally many numbers fall into ("quantile").
    discount: of what is earned a step later, in values and in plans.
    horizon: steps that are foreseen.
    beam_size: trajectories that are continued after each step.
    branches: actions that are tried after each of them, the likeliest.
    min_p: an action must be at least so likely, as a share of the likeliest one's probability.
    world: in which a validation acts (None: that of the data).
    trials: episodes that a validation plays there, or plans in where there is no world.
    """

    kind: ClassVar[str] = "plan"
    unit: ClassVar[str] = "token"
    best: float = 1.0
    context: int = 20
    bins: int = 100
    edges: Literal["uniform", "quantile"] = "uniform"
    discount: float = 1.0
    horizon: int = 10
    beam_size: int = 32
    branches: int = 8
    min_p: float = 0.1
    world: WorldConfig | None = None
    trials: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.horizon > self.context:
            what = f"horizon={self.horizon} steps are foreseen, but the model reads context={self.context}"
            raise UserError(f"{what}; lower the horizon to {self.context}, or train with a longer context")
        assert self.beam, "its numbers are in order"

    @property
    def beam(self) -> Beam:
        return Beam(
            horizon=self.horizon, size=self.beam_size, branches=self.branches, min_p=self.min_p, discount=self.discount
        )  # fmt: skip

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "next-token"

    def readers(self, train: Columns) -> dict[str, Reader]:
        reader = Bins(bins=self.bins, edges=self.edges)
        numeric = replace(reader, numeric=True)  # a reward of 1 at the end, and its value before, are no classes
        return {name: (numeric if name == REWARDS else reader).fit(column, name)
                for name, column in self.numbers(train).items()}  # fmt: skip

    def numbers(self, columns: Columns) -> dict[str, Sequence[Any]]:
        """Returns the columns with, beside each reward, the value: what is earned after it, discounted."""
        rewards = [np.concatenate([x, after(x, self.discount)], 1) for x in tracks(columns[REWARDS], REWARDS, 1)]
        return {STATES: columns[STATES], ACTIONS: columns[ACTIONS], REWARDS: rewards}

    def remarks(self, readers: Readers) -> list[str]:
        names = {STATES: "states", ACTIONS: "actions", REWARDS: "rewards and values"}
        parts = [f"{what} {' + '.join(map(str, bins(readers, name).sizes))}" for name, what in names.items()]
        return [f"a step is {code(readers).slots} tokens; ids of {', '.join(parts)}"]

    def size(self, readers: Readers) -> int:
        return code(readers).size

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        if not isinstance(model, DecoderConfig):
            raise UserError("task=plan goes on id by id, so it looks back alone; choose model.kind=decoder")
        return model

    def check(self, model: Model, readers: Readers) -> None:
        if not isinstance(model.towers()[0].embed, Table):
            raise UserError("task=plan reads ids, each a row of a table; use model.embedding=table")
        if model.limit is not None and model.limit < (slots := code(readers).slots * self.context):
            what = f"task.context={self.context} steps take {slots} positions, but this model has {model.limit}"
            raise UserError(f"{what}; give it more, or lower task.context")

    def examples(self, columns: Columns, readers: Readers) -> Flattened:
        return self.encoded(self.learnt(columns), readers)

    def encoded(self, columns: Columns, readers: Readers) -> Flattened:
        """Returns all episodes. Raises UserError where one has not as many of each."""
        rows = {name: bins(readers, name).encode(x, name) for name, x in self.numbers(columns).items()}
        require_alike(rows)
        of, sizes = code(readers), {name: len(bins(readers, name).sizes) for name in rows}
        ids = np.concatenate([x.flat.reshape(-1, sizes[name]) for name, x in rows.items()], 1) + np.array(of.starts)
        return Flattened(Ragged(ids.astype(np.int32), rows[STATES].offsets), of, self.context)

    def player(self, model: Model, readers: Readers, episodes: int, context: int | None) -> Player:
        return replace(self, context=context or self.context).planner(model, readers, episodes)

    def planner(self, model: Model, readers: Readers, episodes: int) -> Planner:
        return Planner(model, readers, episodes, self.context, self.beam)

    def asked(self, target: Target, horizon: int | None, beam_size: int | None) -> Self:
        if target != "best":
            raise UserError("this model plans for the highest return, and cannot be asked for another; leave it out")
        return replace(self, horizon=horizon or self.horizon, beam_size=beam_size or self.beam_size)

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[list[Any]]:  # fmt: skip
        """Returns the actions that the model would have taken in each step of recorded episodes.

        An episode is states, actions and rewards: in this order, by these names, or as JSON.
        """
        if not inputs:
            return []
        columns = columns_of(inputs)
        tokens, planner = self.encoded(columns, readers).tokens, self.planner(model, readers, len(inputs))
        out, going = [list[Any]() for _ in inputs], [*range(len(inputs))]
        rewards = tracks(columns[REWARDS], REWARDS, 1)
        states = tracks(columns[STATES], STATES)
        for step in range(int(tokens.lengths.max())):
            stay = [row for row, one in enumerate(going) if step < tokens.lengths[one]]
            going = [going[row] for row in stay]
            planner.keep(stay)
            earned = np.array([rewards[one][step - 1, 0] if step else 0.0 for one in going])
            actions = planner.act(np.stack([states[one][step] for one in going]), earned, earned)
            planner.actions = np.stack([tokens[one][step] for one in going])[:, planner.own]
            for one, action in zip(going, cast("list[Any]", actions.tolist()), strict=True):
                out[one].append(action)
        return out

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns those of at most `trials` episodes, since every step is planned."""
        most = self.trials if limit is None else min(limit, self.trials)
        return super().samples(model, readers, split, options, most)
