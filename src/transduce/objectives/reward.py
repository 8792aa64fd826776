"""Rewards learnt from comparisons.

Tested in tests/objectives/test_preference.py.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F

from transduce.errors import UserError
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted
from transduce.objectives.rows import require_pooled


def reward_loss(model: Learner, batch: Batch, centre: float) -> Loss:
    """Returns the loss of pairs of rows, of which the first is preferred."""
    with collecting() as noted:
        rewards = model.pooled_head(model.features(batch), batch.layout)[:, 0].reshape(-1, 2)
    margin = rewards[:, 0] - rewards[:, 1]
    nll = -F.logsigmoid(margin)
    total = (nll + centre * rewards.sum(1).square()).sum()
    gain = margin.detach()
    metrics = {
        "nll": nll.detach().sum(), "preferred": (gain > 0).to(gain.dtype).sum(), "margin": gain.sum(),
    }  # fmt: skip
    return with_noted(Loss(total, torch.tensor(len(margin)), metrics), noted)


@dataclass(frozen=True, kw_only=True)
class RewardObjectiveConfig(ObjectiveConfig):
    """-log sigmoid(r(chosen) - r(rejected)).   Bradley and Terry 1952; Ouyang et al. 2022, arXiv:2203.02155, eq. 1.

    In metrics `margin` is the difference of rewards, `preferred` the share of pairs in which it is above 0.

    centre: how much the square of the sum of both rewards counts, which keeps their mean at 0 (Eisenstein et al. 2023,
        arXiv:2312.09244, eq. 3); comparisons alone do not say where 0 is.
    """

    kind: ClassVar[str] = "reward"
    head: ClassVar[str] = "numbers"
    shows: ClassVar[tuple[str, ...]] = ("margin",)
    centre: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.centre < float("inf"):
            raise UserError(f"objective.centre={self.centre} must not be negative; use 0.01, or 0 for none")

    def build(self) -> Objective:
        return partial(reward_loss, centre=self.centre)

    def require_head(self, model: Model) -> None:
        require_pooled(model, self)
