"""Objectives of a whole row: its class, or its numbers."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F

from transduce.errors import UserError
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.heads.head import PooledHead
from transduce.model.models import Model, without
from transduce.objectives.language import checked
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted


def require_pooled(model: Model, objective: ObjectiveConfig) -> None:
    """Raises UserError unless the head of a model predicts something of each row."""
    if not isinstance(model.head, PooledHead):
        what = f"objective={objective.kind} predicts something of a whole row, but {without(model.head)}"
        raise UserError(f"{what}; set model.head={objective.head}")


def class_loss(model: Learner, batch: Batch, smoothing: float) -> Loss:
    """Returns the cross entropy of the class of each row; a row whose target is -1 has none."""
    with collecting() as noted:
        logits = model.pooled_head(model.features(batch), model.arranged(batch.layout))
    has_target = batch.targets >= 0
    logits, targets = logits[has_target], batch.targets[has_target]
    weights = torch.ones_like(logits[:, 0]) if batch.weights is None else batch.weights[has_target]
    total = (weights * F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)).sum()
    nll = (weights * F.cross_entropy(logits.detach(), targets, reduction="none")).sum()
    right = (weights * (logits.argmax(-1) == targets)).sum()
    count = torch.tensor(len(targets)) if batch.weights is None else weights.sum()
    loss = Loss(total, count, {"nll": nll, "train_accuracy": right})
    return with_noted(loss, noted)


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(ObjectiveConfig):
    """-log p(class | row), for a head of classes.

    label_smoothing: the share of probability that is spread over all classes, 0 to below 1.
    """

    kind: ClassVar[str] = "classification"
    head: ClassVar[str] = "classes"
    label_smoothing: float = 0.0

    def build(self) -> Objective:
        return partial(class_loss, smoothing=checked(self.label_smoothing))

    def require_head(self, model: Model) -> None:
        require_pooled(model, self)


def square_loss(model: Learner, batch: Batch) -> Loss:
    """Returns (prediction - target)^2, summed over the numbers of each row."""
    with collecting() as noted:
        predicted = model.pooled_head(model.features(batch), model.arranged(batch.layout))
    each = (predicted - batch.targets.to(predicted.dtype)).square().sum(-1)
    each = each if batch.weights is None else each * batch.weights
    count = torch.tensor(len(each)) if batch.weights is None else batch.weights.sum()
    loss = Loss(each.sum(), count, {"nll": each.detach().sum()})
    return with_noted(loss, noted)


@dataclass(frozen=True, kw_only=True)
class RegressionConfig(ObjectiveConfig):
    """(prediction - number)^2 of each row, for a head of numbers: -log p of a normal distribution, up to constants."""

    kind: ClassVar[str] = "regression"
    head: ClassVar[str] = "numbers"

    def build(self) -> Objective:
        return square_loss

    def require_head(self, model: Model) -> None:
        require_pooled(model, self)
