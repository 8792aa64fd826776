"""Cloning: the actions of recorded episodes.

Tested in tests/objectives/test_act.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from transduce.errors import UserError
from transduce.model.auxiliary import collecting
from transduce.model.batch import SLOTS, Batch
from transduce.model.heads.head import Head
from transduce.model.heads.token_classes import TokenClassesHead
from transduce.model.heads.values import BinsHead, ValuesHead
from transduce.model.models import Model, without
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted

STATE = 1  # the slot of a step from which its action is predicted


def act_loss(model: Learner, batch: Batch) -> Loss:
    """Returns the loss of the action of every step, given what came before it.

    -log p(class), -log p(bin) for each number, or (action - prediction)^2 for each number.
    """
    assert model.head is not None
    with collecting() as noted:
        hidden = model.features(batch)
    positions = batch.layout.positions
    logits = model.head(hidden[positions % SLOTS == STATE])  # padding is -1, which is 2 here
    targets = batch.targets[positions[:, STATE::SLOTS] >= 0]
    if isinstance(model.head, BinsHead):
        logits, targets = model.head.parted(logits).flatten(0, 1), targets.flatten()
    if isinstance(model.head, ValuesHead):
        total = (logits - targets).square().sum()
        return with_noted(Loss(total, torch.tensor(targets.numel()), {"nll": total.detach()}), noted)
    total = F.cross_entropy(logits, targets, reduction="sum")
    right = (logits.argmax(-1) == targets).sum()
    return with_noted(Loss(total, torch.tensor(len(targets)), {"nll": total.detach(), "train_accuracy": right}), noted)


@dataclass(frozen=True, kw_only=True)
class ActObjectiveConfig(ObjectiveConfig):
    """-log p(action | what is still to be earned, the state, and the steps before), or the squared error of numbers.

    Chen et al. 2021, arXiv:2106.01345, alg. 1; where no return is given, it is behaviour cloning. The head decides:
    token-classes of classes, bins of numbers in bins, values of numbers as they are.
    """

    kind: ClassVar[str] = "act"
    head: ClassVar[str] = "token-classes"

    def build(self) -> Objective:
        return act_loss

    def require_head(self, model: Model) -> None:
        if not acts(model.head):
            what = f"objective={self.kind} predicts actions, but {without(model.head)}"
            raise UserError(f"{what}; set model.head=token-classes, bins or values")


def acts(head: Head | None) -> bool:
    """Says whether a head can predict actions."""
    return isinstance(head, TokenClassesHead | BinsHead | ValuesHead)
