"""The objective of sounds whose texts are known, but not when each letter is said."""

from dataclasses import dataclass
from typing import ClassVar

from transduce.errors import UserError
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.heads.ctc import CtcHead
from transduce.model.models import Model, without
from transduce.model.ops import ctc
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted


def ctc_loss(model: Learner, batch: Batch) -> Loss:
    """Returns -log p of each text, over all ways in which the steps of its sound spell it.

    It counts labels, one for a text without any. A sound with fewer steps than its text needs has no way; it is left
    out of the loss and of the count, and the metric `skipped` counts its labels.
    """
    head = model.head
    assert isinstance(head, CtcHead)
    with collecting() as noted:
        hidden = model.features(batch)
    layout, targets = model.arranged(batch.layout), batch.targets
    if layout.segments is not None:
        raise UserError("objective=ctc reads one sound per row; set batch.packing=false")
    steps, labels = layout.valid.sum(1), (targets >= 0).sum(1).clamp(min=1)
    fits = ctc.spellable(steps, targets)
    rows = fits.nonzero()[:, 0]
    skipped = labels[~fits].sum()
    if not len(rows):
        nothing = hidden.float().sum() * 0
        return with_noted(Loss(nothing, skipped * 0, {"nll": nothing.detach(), "skipped": skipped}), noted)
    logs = ctc.log_p(head(hidden[rows]), steps[rows], targets[rows], head.blank)
    total = -logs.sum()
    return with_noted(Loss(total, labels[rows].sum(), {"nll": total.detach(), "skipped": skipped}), noted)


@dataclass(frozen=True, kw_only=True)
class CtcConfig(ObjectiveConfig):
    """-log sum over ways of prod_t p(what step t says), for a head of labels and blank.   Graves et al. 2006, eq. 3."""

    kind: ClassVar[str] = "ctc"
    head: ClassVar[str] = "ctc"

    def build(self) -> Objective:
        return ctc_loss

    def require_head(self, model: Model) -> None:
        if not isinstance(model.head, CtcHead):
            what = f"objective=ctc learns labels and blank, but {without(model.head)}"
            raise UserError(f"{what}; set model.head={self.head}")
