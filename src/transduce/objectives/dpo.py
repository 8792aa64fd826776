"""Direct preference optimisation: preferences without a reward model.

Tested in tests/objectives/test_preference.py.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted
from transduce.objectives.preference import answers


def pair_loss(h: Tensor, config: "DpoConfig", smoothing: float) -> Tensor:
    """Returns the loss of each pair. h: (P,), how much more the chosen answer gained on the reference, in nats."""
    beta = config.beta
    if config.loss == "ipo":
        return (h - 1 / (2 * beta)).square()
    if config.loss == "hinge":
        return F.relu(1 - beta * h)
    return -(1 - smoothing) * F.logsigmoid(beta * h) - smoothing * F.logsigmoid(-beta * h)


def dpo_loss(model: Learner, batch: Batch, config: "DpoConfig") -> Loss:
    """Returns the loss of pairs of answers, of which the first is preferred."""
    of_answers = answers(model, batch, "dpo")
    ratio = of_answers.ratio.reshape(-1, 2)
    h, rewards = ratio[:, 0] - ratio[:, 1], config.beta * ratio.detach()
    total = pair_loss(h, config, config.label_smoothing).sum()
    metrics = {
        "nll": pair_loss(h.detach(), config, 0.0).sum(), "preferred": (h.detach() > 0).to(h.dtype).sum(),
        "margin": (rewards[:, 0] - rewards[:, 1]).sum(), "chosen": rewards[:, 0].sum(), "rejected": rewards[:, 1].sum(),
    }  # fmt: skip
    return with_noted(Loss(total, torch.tensor(len(h)), metrics), of_answers.noted)


@dataclass(frozen=True, kw_only=True)
class DpoConfig(ObjectiveConfig):
    """-log sigmoid(beta h), h = log p(chosen) / p_ref(chosen) - log p(rejected) / p_ref(rejected).

    Rafailov et al. 2023, arXiv:2305.18290, eq. 7. p_ref is what the training starts from. In metrics `chosen` and
    `rejected` are the rewards beta log p / p_ref, `margin` is their difference, and `preferred` the share of pairs in
    which it is above 0.

    beta: how much a departure from the reference counts.
    loss: sigmoid, that above; ipo: (h - 1 / (2 beta))^2 (Azar et al. 2023, arXiv:2310.12036, eq. 17); hinge:
        max(0, 1 - beta h) (Zhao et al. 2023, arXiv:2305.10425).
    label_smoothing: the share of pairs that are taken to be the wrong way round, 0 to below 0.5 (Mitchell 2023); of
        the sigmoid alone.
    """

    kind: ClassVar[str] = "dpo"
    shows: ClassVar[tuple[str, ...]] = ("preferred", "margin", "chosen", "rejected")
    referenced: ClassVar[bool] = True
    beta: float = 0.1
    loss: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        require_beta(self.beta)
        if not 0 <= self.label_smoothing < 0.5:
            raise UserError(f"label_smoothing={self.label_smoothing} is not in [0, 0.5); use 0.1, or 0 for none")
        if self.label_smoothing and self.loss != "sigmoid":
            raise UserError(f"objective.label_smoothing is of loss=sigmoid, not of loss={self.loss}; leave it out")

    def build(self) -> Objective:
        return partial(dpo_loss, config=self)


def require_beta(beta: float) -> None:
    if not 0 < beta < float("inf"):
        raise UserError(f"objective.beta={beta} must be a positive number, such as 0.1")
