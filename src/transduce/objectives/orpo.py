"""Preferences and imitation at once, without a reference model.

Tested in tests/objectives/test_preference.py.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.model.batch import Batch
from transduce.objectives.dpo import require_beta
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted
from transduce.objectives.preference import answers


def log_odds(log_p: Tensor) -> Tensor:
    """Returns log(p / (1 - p)) of log p < 0, exact for p near 0 and near 1."""
    return log_p - torch.log(-torch.expm1(log_p.clamp(max=-1e-6)))


def orpo_loss(model: Learner, batch: Batch, beta: float) -> Loss:
    """Returns the loss of pairs of answers, of which the first is preferred."""
    of_answers = answers(model, batch, "orpo")
    means = (of_answers.model / of_answers.tokens).reshape(-1, 2)
    odds = log_odds(means[:, 0]) - log_odds(means[:, 1])
    each = -means[:, 0] - beta * F.logsigmoid(odds)
    gain, p = odds.detach(), means.detach()
    metrics = {
        "nll": each.detach().sum(), "preferred": (gain > 0).to(gain.dtype).sum(), "margin": gain.sum(),
        "chosen": p[:, 0].sum(), "rejected": p[:, 1].sum(),
    }  # fmt: skip
    return with_noted(Loss(each.sum(), torch.tensor(len(each)), metrics), of_answers.noted)


@dataclass(frozen=True, kw_only=True)
class OrpoConfig(ObjectiveConfig):
    """-log p(chosen) - beta log sigmoid(log odds(chosen) - log odds(rejected)), with p the geometric mean over tokens.

    Hong et al. 2024, arXiv:2403.07691, eq. 6 and 7. In metrics `chosen` and `rejected` are log p per token, `margin` is
    the difference of log odds, `preferred` the share of pairs where it is above 0.

    beta: how much the preference counts beside imitation (lambda there).
    """

    kind: ClassVar[str] = "orpo"
    shows: ClassVar[tuple[str, ...]] = ("preferred", "margin", "chosen", "rejected")
    beta: float = 0.1

    def __post_init__(self) -> None:
        require_beta(self.beta)

    def build(self) -> Objective:
        return partial(orpo_loss, beta=self.beta)
