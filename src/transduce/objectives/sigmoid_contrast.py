"""Learning vectors from pairs one by one: does this second one belong to that first one?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.errors import UserError
from transduce.model.heads.joint import Joint
from transduce.model.models import Model
from transduce.objectives.contrastive import Contrast, logits, others, require_sides
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig


def sigmoid_contrast(model: Learner, u: Tensor, v: Tensor, which: Tensor) -> Loss:
    """Returns the sum of -log sigma(z_ij logit_ij), z_ij = 1 at i = j, else -1; pairs with the same one have none."""
    scores, same = logits(model, u, v, 1.0), others(which, len(u))
    signs = 2 * torch.eye(len(u), len(v), dtype=scores.dtype, device=scores.device) - 1
    each = -F.logsigmoid(signs * scores).masked_fill(same, 0.0)
    right = scores.detach().masked_fill(same, -torch.inf).argmax(-1) == torch.arange(len(u), device=u.device)
    total = each.sum()
    return Loss(total, torch.tensor(len(u)), {"nll": total.detach(), "train_accuracy": right.sum()})


@dataclass(frozen=True, kw_only=True)
class SigmoidContrastConfig(ObjectiveConfig):
    """Sum over all i, j of -log sigma(z_ij (exp(s) u_i . v_j + b)), z_ij = 1 where they belong together, else -1.

    Zhai et al. 2023, arXiv:2303.15343, eq. 1. With model.head=joint, whose offset is b; they start from scale=10 and
    offset=-10. With train.accumulate the pairs of an update are compared with one another.
    """

    kind: ClassVar[str] = "sigmoid-contrast"
    head: ClassVar[str] = "joint"
    in_batch: ClassVar[bool] = True

    def build(self) -> Objective:
        return Contrast(self.kind, sigmoid_contrast)

    def require_head(self, model: Model) -> None:
        require_sides(model, self)
        if not isinstance(model.head, Joint) or model.head.offset is None:
            what = "objective=sigmoid-contrast learns an offset, since most pairs of a batch do not belong together"
            raise UserError(f"{what}; set model.head.kind=joint, model.head.scale=10 and model.head.offset=-10")
