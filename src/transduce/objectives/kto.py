"""Answers that are wanted or not, one by one, without pairs.

Tested in tests/objectives/test_preference.py.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.objectives.dpo import require_beta
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted
from transduce.objectives.preference import answers


def kto_loss(model: Learner, batch: Batch, config: "KtoConfig") -> Loss:
    """Returns the loss of answers, each of which is wanted or not."""
    of_answers = answers(model, batch, "kto")
    assert of_answers.label is not None, "kto reads answers with a label"
    wanted = of_answers.label > 0
    reward = config.beta * (of_answers.ratio - config.origin)
    value = torch.where(wanted, reward, -reward).sigmoid()
    weight = torch.where(wanted, config.wanted, config.unwanted).to(value.dtype)
    gain = reward.detach()
    metrics = {
        "nll": (weight * (1 - value.detach())).sum(), "preferred": ((gain > 0) == wanted).to(gain.dtype).sum(),
        "wanted": gain[wanted].sum(), "unwanted": gain[~wanted].sum(),
    }  # fmt: skip
    return with_noted(Loss((weight * (1 - value)).sum(), torch.tensor(len(wanted)), metrics), of_answers.noted)


@dataclass(frozen=True, kw_only=True)
class KtoConfig(ObjectiveConfig):
    """w (1 - sigmoid(beta (r - z))) of wanted answers, u (1 - sigmoid(beta (z - r))) of others; r = log p / p_ref.

    Ethayarajh et al. 2024, arXiv:2402.01306, eq. 8. There z is a mean over the batch; here it is a constant, so that a
    gradient does not depend on how an update is parted into batches. In metrics `wanted` and `unwanted` are the sums
    of beta (r - z) of these answers, over all answers; `preferred` is the share of answers on their side of z.

    beta: how much a departure from the reference counts.
    wanted: the weight of wanted answers (w).
    unwanted: the weight of the others (u); where they are more, lower it.
    origin: the gain on the reference at which an answer is neither, in nats (z).
    """

    kind: ClassVar[str] = "kto"
    shows: ClassVar[tuple[str, ...]] = ("preferred", "wanted", "unwanted")
    referenced: ClassVar[bool] = True
    beta: float = 0.1
    wanted: float = 1.0
    unwanted: float = 1.0
    origin: float = 0.0

    def __post_init__(self) -> None:
        require_beta(self.beta)
        for name in ("wanted", "unwanted"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"objective.{name}={getattr(self, name)} must not be negative; use 1")

    def build(self) -> Objective:
        return partial(kto_loss, config=self)
