"""Acting: what to do in each state, learnt from recorded episodes.

Tested in tests/tasks/test_act.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transduce.data.columns import Columns
from transduce.data.episodic import EpisodeRows, Episodic
from transduce.data.readers.actions import Actions, of_bins, to_bins
from transduce.data.readers.reader import Reader, Readers
from transduce.data.readers.returns import Returns
from transduce.data.readers.vectors import Vectors
from transduce.data.tracks import ACTIONS, REWARDS, STATES
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.batch import SLOTS
from transduce.model.embed.trajectory import Trajectory, TrajectoryConfig
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.token_classes import TokenClassesHeadConfig
from transduce.model.heads.values import BinsHead, BinsHeadConfig, ValuesHead, ValuesHeadConfig
from transduce.model.models import Model
from transduce.objectives.act import STATE
from transduce.tasks.acting import Actor, Player, Target, to_tensor
from transduce.tasks.playing import PlayingConfig, columns_of, require_alike
from transduce.worlds.world import WorldConfig

COLUMNS = (STATES, ACTIONS, REWARDS)
TOGETHER = 1 << 14  # slots of recorded episodes that are read together
SHOWN = 8  # actions of a sample


@dataclass(frozen=True, kw_only=True)
class ActConfig(PlayingConfig):
    """Episodes, and the action of each step given what is still to be earned.   Chen et al. 2021, arXiv:2106.01345.

    given: "return": the model reads returns-to-go, and is asked for a return; "none": plain cloning.
    best: the share of the episodes that is learnt from, those of the highest return.
    context: steps that a model looks back on, the present one included.
    bins: actions that are numbers are predicted in so many bins (None: as numbers).
    quantile: their ends are this quantile and 1 minus it (0: the extremes).
    world: in which a validation acts (None: that of the data).
    trials: episodes that a validation plays there.
    """

    kind: ClassVar[str] = "act"
    given: Literal["return", "none"] = "return"
    best: float = 1.0
    context: int = 20
    bins: int | None = None
    quantile: float = 0.0
    world: WorldConfig | None = None
    trials: int = 20

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "act"

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {
            STATES: Vectors().fit(train[STATES], STATES),
            ACTIONS: Actions(bins=self.bins, quantile=self.quantile).fit(train[ACTIONS], ACTIONS),
            REWARDS: Returns().fit(train[REWARDS], REWARDS),
        }

    def remarks(self, readers: Readers) -> list[str]:
        actions, returns = cast(Actions, readers[ACTIONS]), cast(Returns, readers[REWARDS])
        what = f"{actions.classes} classes" if actions.classes else f"{actions.size} numbers"
        ends = f"{returns.least:g} to {returns.most:g}"
        return [f"states are {readers[STATES].size} numbers, actions {what}; returns are {ends}"]

    def size(self, readers: Readers) -> int:
        return readers[STATES].size

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for these states and actions, with a head that predicts these actions."""
        if not isinstance(model, DecoderConfig):
            raise UserError("task=act looks back alone, since it acts step by step; choose model.kind=decoder")
        actions, returns = cast(Actions, readers[ACTIONS]), cast(Returns, readers[REWARDS])
        embedding = model.embedding if isinstance(model.embedding, TrajectoryConfig) else TrajectoryConfig()
        embedding = replace(
            embedding, actions=actions.size, classes=bool(actions.classes), steps=embedding.steps or returns.steps
        )
        return replace(model, embedding=embedding, head=self.head(model.head, actions), tie_embeddings=False)

    def head(self, head: HeadConfig, actions: Actions) -> HeadConfig:
        """Returns the head for such actions: what is given, if it suits."""
        if actions.classes:
            own = head if isinstance(head, TokenClassesHeadConfig) else TokenClassesHeadConfig()
            return replace(own, classes=actions.classes)
        if self.bins is not None:
            return BinsHeadConfig(numbers=actions.size, bins=self.bins)
        own = head if isinstance(head, ValuesHeadConfig) else ValuesHeadConfig()
        return replace(own, size=actions.size)

    def check(self, model: Model, readers: Readers) -> None:
        if not isinstance(model.towers()[0].embed, Trajectory):
            raise UserError("this model reads no episodes; use model.embedding=trajectory")

    def examples(self, columns: Columns, readers: Readers) -> Episodic:
        return self.encoded(self.learnt(columns), readers)

    def encoded(self, columns: Columns, readers: Readers) -> Episodic:
        """Returns all episodes. Raises UserError where one has not as many of each."""
        states = readers[STATES].encode(columns[STATES], STATES)
        actions, returns = (readers[name].encode(columns[name], name) for name in (ACTIONS, REWARDS))
        require_alike({STATES: states, ACTIONS: actions, REWARDS: returns})
        bins = self.bins if not cast(Actions, readers[ACTIONS]).classes else None
        targets = actions.flat if bins is None else to_bins(actions.flat, bins)
        goals = returns.flat if self.given == "return" else np.zeros_like(returns.flat)
        return Episodic(states, actions.flat, goals, targets, self.context)

    def player(self, model: Model, readers: Readers, episodes: int, context: int | None) -> Player:
        return Actor(self, model, readers, episodes, context or self.context)

    def asked(self, target: Target, horizon: int | None, beam_size: int | None) -> Self:
        if horizon is not None or beam_size is not None:
            raise UserError("this model takes the likeliest action and plans nothing; leave horizon and beam_size out")
        return self

    def read(self, readers: Readers, states: NDArray[Any], returns: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Returns what a model reads of (B, S) states and (B,) returns-to-go: (B, 1, S), (B, 1, 1)."""
        own, earned = cast(Vectors, readers[STATES]), cast(Returns, readers[REWARDS])
        x = ((states - np.asarray(own.mean)) / own.deviation).astype(np.float32)
        goals = returns / earned.scale if self.given == "return" else np.zeros_like(returns)
        return to_tensor(x[:, None]), to_tensor(goals.astype(np.float32)[:, None, None])

    def chosen(self, model: Model, readers: Readers, hidden: Tensor) -> tuple[Tensor, NDArray[Any]]:
        """Returns the likeliest action of each row of (N, M), as the model reads it and as it is in the data."""
        reader = cast(Actions, readers[ACTIONS])
        assert model.head is not None
        out = model.head(hidden)
        if isinstance(model.head, ValuesHead):
            y = out.float().clamp(-1, 1)
            return y, reader.numbers(y.cpu().numpy())
        if isinstance(model.head, BinsHead):
            index = model.head.parted(out).argmax(-1).cpu().numpy()
            y = of_bins(index, model.head.bins)
            return to_tensor(y.astype(np.float32)).to(hidden.device), reader.numbers(y)
        index = out.argmax(-1)
        return index, index.cpu().numpy()

    @torch.inference_mode()
    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[list[Any]]:  # fmt: skip
        """Returns the actions that the model would have taken in each step of recorded episodes.

        An episode is states, actions and rewards: in this order, by these names, or as JSON. It is read in pieces of
        `context` steps.
        """
        if not inputs:
            return []
        examples = self.encoded(columns_of(inputs), readers)
        pieces, flat = EpisodeRows(examples, TOGETHER), dict[int, Any]()
        for group in pieces.fixed():
            batch = pieces.build(group).to(model.device)
            hidden = model.features(batch)[batch.layout.positions % SLOTS == STATE]
            actions = self.chosen(model, readers, hidden)[1].tolist()
            places = [at for start, stop, _ in group.tolist() for at in range(start, stop)]
            flat |= dict(zip(places, actions, strict=True))
        offsets = examples.states.offsets.tolist()
        return [[flat[at] for at in range(a, b)] for a, b in pairwise(offsets)]
