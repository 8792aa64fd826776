"""Objectives of single tokens: the class of each, and where a span begins and ends."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F

from transduce.errors import UserError
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.heads.token_classes import TokenClassesHead
from transduce.model.models import Model, without
from transduce.objectives.language import checked
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted


def require_token_classes(model: Model, objective: ObjectiveConfig) -> None:
    """Raises UserError unless the head of a model tells the class of each token."""
    if not isinstance(model.head, TokenClassesHead):
        what = f"objective={objective.kind} predicts something of each token, but {without(model.head)}"
        raise UserError(f"{what}; set model.head={objective.head}")


def tag_loss(model: Learner, batch: Batch, smoothing: float) -> Loss:
    """Returns the cross entropy of the class of each token that has one."""
    assert model.head is not None
    with collecting() as noted:
        hidden = model.features(batch).flatten(0, 1)
    targets = batch.targets.flatten()
    chosen = (targets >= 0).nonzero()[:, 0]
    logits, targets = model.head(hidden.index_select(0, chosen)), targets.index_select(0, chosen)
    total = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    nll = F.cross_entropy(logits.detach(), targets, reduction="sum")
    right = (logits.argmax(-1) == targets).sum()
    loss = Loss(total, torch.tensor(len(targets)), {"nll": nll, "train_accuracy": right})
    return with_noted(loss, noted)


@dataclass(frozen=True, kw_only=True)
class TaggingConfig(ObjectiveConfig):
    """-log p(class | token and text), for a head of classes of tokens.   Devlin et al. 2018, sec. 5.3.

    label_smoothing: the share of probability that is spread over all classes, 0 to below 1.
    """

    kind: ClassVar[str] = "tagging"
    head: ClassVar[str] = "token-classes"
    label_smoothing: float = 0.0

    def build(self) -> Objective:
        return partial(tag_loss, smoothing=checked(self.label_smoothing))

    def require_head(self, model: Model) -> None:
        require_token_classes(model, self)


def span_loss(model: Learner, batch: Batch) -> Loss:
    """Returns -log p(first token) - log p(last token) of each row, over its tokens. targets: (B, 2) slots."""
    assert model.head is not None
    with collecting() as noted:
        logits = model.head(model.features(batch))  # (B, T, 2)
    logits = logits.masked_fill(~batch.layout.valid[..., None], -torch.inf)
    each = F.cross_entropy(logits, batch.targets, reduction="none").sum(-1)
    right = (logits.argmax(1) == batch.targets).all(-1).sum()
    loss = Loss(each.sum(), torch.tensor(len(each)), {"nll": each.detach().sum(), "train_accuracy": right})
    return with_noted(loss, noted)


@dataclass(frozen=True, kw_only=True)
class SpanConfig(ObjectiveConfig):
    """-log p(where a span begins) - log p(where it ends), for a head of two classes of tokens.   Devlin, sec. 4.2."""

    kind: ClassVar[str] = "span"
    head: ClassVar[str] = "token-classes"

    def build(self) -> Objective:
        return span_loss

    def require_head(self, model: Model) -> None:
        require_token_classes(model, self)
        assert model.head is not None
        if model.head.size != 2:
            raise UserError(f"objective=span needs a head of two classes, but {without(model.head)}; leave it out")
