"""The parts that objectives of preferences share: log p of whole answers, beside that of a reference model.

Tested in tests/objectives/test_preference.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from transduce.data.answers import Compared
from transduce.errors import UserError
from transduce.model.auxiliary import Auxiliary, collecting
from transduce.model.batch import Batch
from transduce.objectives.objective import Learner


class LogP(NamedTuple):
    """The log p of every answer of a batch, in nats, summed over its tokens. All are (D,) float32.

    reference: of the reference model, without gradient; None: there is none.
    tokens: how many each has.
    label: 1 where it is wanted, 0 where not; None: the order says it.
    """

    model: Tensor
    reference: Tensor | None
    tokens: Tensor
    label: Tensor | None
    noted: Auxiliary

    @property
    def ratio(self) -> Tensor:
        """Returns log p - log p of the reference. Raises UserError where the reference is not known."""
        if self.reference is None:
            raise UserError("what the reference model holds of these answers is not known; open the run itself")
        return self.model - self.reference


def still(model: Learner) -> Learner:
    """Returns a model, in evaluation mode from here on: blocks that are computed again must not drop out either."""
    module = getattr(model, "model", model)
    assert isinstance(module, nn.Module)
    if module.training:
        module.eval()
    return model


def answers(model: Learner, batch: Batch, objective: str) -> LogP:
    """Returns the log p of the answers of a batch, which may be padded or packed.

    The model drops nothing out from here on, so that p / p_ref is 1 where the training starts.
    Raises UserError for a batch of a task that compares no answers. objective: the kind that asks.
    """
    extra = batch.extra
    if not isinstance(extra, Compared):
        raise UserError(f"objective={objective} compares answers, which other tasks do not have; use task=prefer")
    model = still(model)
    with collecting() as noted:
        hidden = model.features(batch).flatten(0, 1)
    targets = batch.targets.flatten()
    has_target = (targets >= 0).nonzero()[:, 0]
    targets, document = targets[has_target], extra.document.flatten()[has_target]
    log_p = model.token_head.log_p(hidden.index_select(0, has_target), targets)
    count = int(extra.document.max()) + 1

    def summed(values: Tensor) -> Tensor:
        return values.new_zeros(count).index_add(0, document, values)

    reference = None if extra.reference is None else summed(extra.reference.flatten()[has_target].to(log_p.dtype))
    label = None
    if extra.label is not None:
        label = extra.label.new_zeros(count).index_copy(0, document, extra.label.flatten()[has_target])
    return LogP(summed(log_p), reference, summed(torch.ones_like(log_p)), label, noted)
