"""Three vectors per step of an episode: what is still to be earned, the state, the action.

Tested in tests/tasks/test_act.py and tests/objectives/test_act.py.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.batch import SLOTS, Steps
from transduce.model.embed.embedding import Embedding, EmbeddingConfig
from transduce.model.layout import Layout
from transduce.model.norms.norm import NormConfig
from transduce.model.ops.dropout import dropout
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles


class Trajectory(Embedding):
    """See `TrajectoryConfig`. time: (steps, M)."""

    roles: ClassVar[Roles] = {"time": "places", "actions.weight": "lookup"}

    def __init__(
        self, config: "TrajectoryConfig", states: int, width: int, norm: NormConfig, positions: Positions, p: float
    ) -> None:  # fmt: skip
        super().__init__()
        assert config.steps is not None
        assert config.actions is not None
        self.returns, self.states = nn.Linear(1, width), nn.Linear(states, width)
        self.actions = nn.Embedding(config.actions, width) if config.classes else nn.Linear(config.actions, width)
        self.time = nn.Parameter(torch.empty(config.steps, width))
        self.norm = norm.build(width) if config.norm else None
        self.positions, self.p, self.still = positions, p, config.still
        self.counts_inputs = not config.still  # pyright: ignore[reportAttributeAccessIssue]

    def forward(self, ids: Any, layout: Layout) -> Tensor:
        """ids: the `Steps` that slots of the layout belong to. Of the first and the last, slots may be missing."""
        steps, kind = cast(Steps, ids), self.time.dtype
        time = F.embedding(steps.times.clamp(max=len(self.time) - 1), self.time)
        actions = self.actions(steps.actions if isinstance(self.actions, nn.Embedding) else steps.actions.to(kind))
        each = (self.returns(steps.returns.to(kind)), self.states(steps.states.to(kind)), actions)
        x = torch.stack([one + time for one in each], 2).flatten(1, 2)  # (B, 3 T, M)
        if layout.positions.shape[1] < x.shape[1]:
            first = layout.positions[:, :1] // SLOTS * SLOTS
            at = (layout.positions - first).clamp(min=0)[..., None].expand(-1, -1, x.shape[2])
            x = x.gather(1, at)
        place = torch.zeros_like(layout.place) if self.still else layout.place
        x = self.positions.add(x if self.norm is None else self.norm(x), place)
        return dropout(x, self.p, self.training)


@dataclass(frozen=True, kw_only=True)
class TrajectoryConfig(EmbeddingConfig):
    """norm(W x + b + time[step]) of the return-to-go, the state and the action of each step, with a W for each.

    Three slots in this order have one time.   Chen et al. 2021, arXiv:2106.01345, sec. 3.

    actions: how many classes an action is one of, or how many numbers it has (None: as the data have it).
    classes: whether actions are classes.
    steps: rows of the table of times; later steps have the last one (None: as many as the longest episode has).
    norm: whether the model's norm stands there.
    still: positions that are added behind it are the first one in every slot (transformers).
    """

    kind: ClassVar[str] = "trajectory"
    actions: int | None = None
    classes: bool = True
    steps: int | None = None
    norm: bool = True
    still: bool = False

    def __post_init__(self) -> None:
        require_at_least(1, actions=self.actions, steps=self.steps)

    def build(
        self, vocab_size: int, width: int, norm: NormConfig, positions: Positions, *, scale: float, p: float,
        shared: Embedding | None = None,
    ) -> Embedding:  # fmt: skip
        if shared is not None:
            raise UserError("embedding=trajectory has no table to share; set model.tie_embeddings=none")
        if self.actions is None or self.steps is None:
            raise UserError("embedding=trajectory reads episodes; use it with task=act, or set its actions and steps")
        return Trajectory(self, vocab_size, width, norm, positions, p)
