"""The objective of rows that have several classes."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted
from transduce.objectives.rows import require_pooled


def label_loss(model: Learner, batch: Batch) -> Loss:
    """Returns the sum over classes of the cross entropy of each, there or not. targets: (B, C), 0 or 1."""
    with collecting() as noted:
        logits = model.pooled_head(model.features(batch), batch.layout)
    targets = batch.targets.to(logits.dtype)
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)
    right = ((logits > 0) == (targets > 0)).float().mean(-1).sum()
    loss = Loss(each.sum(), torch.tensor(len(each)), {"nll": each.detach().sum(), "train_accuracy": right})
    return with_noted(loss, noted)


@dataclass(frozen=True, kw_only=True)
class MultilabelObjectiveConfig(ObjectiveConfig):
    """-sum_c log p(class c is there, or is not | row), for a head of classes, each class by itself."""

    kind: ClassVar[str] = "multilabel"
    head: ClassVar[str] = "classes"

    def build(self) -> Objective:
        return label_loss

    def require_head(self, model: Model) -> None:
        require_pooled(model, self)
