"""Predicting some tokens in a random order, from all others and from those before them in that order."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.embed.table import Table
from transduce.model.layout import Layout, View, mapped
from transduce.model.models import Model
from transduce.model.ops.dropout import dropout
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig

UNSEEN = 1 << 40  # the order of predictions as others see them: not at all


def two_streams(model: Model, ids: Tensor, layout: Layout, order: Tensor, wanted: Tensor) -> Tensor:
    """Returns hidden states (B, K, M) that predict the tokens in slots `wanted` (B, K).   Yang et al. 2019, sec. 2.3.

    wanted: -1 where there is none. order: (B, T) int64, at least 0: a token sees all whose order is not above its own;
    its prediction, all below it. Both streams stand in one row, the K queries behind the T tokens: norms and
    feed-forwards are the same for both, and attention differs only in who sees whom.
    """
    if len(model.towers()) > 1:
        raise UserError("objective=permutation predicts the tokens of one text; use model.kind=encoder")
    if model.stacks()[0].conditioned:
        raise UserError("objective=permutation gives layers no condition; use model.kind=encoder")
    [(_, embed, stack)] = model.towers()
    if not isinstance(embed, Table) or embed.blank is None:
        raise UserError("objective=permutation needs a vector for what is predicted; set model.embedding.blank=true")
    slots, none = wanted.clamp(min=0), wanted < 0

    def there(x: Tensor) -> Tensor:
        """Returns what belongs to tokens (B, T), and then to their predictions (B, T + K)."""
        return torch.cat([x, x.gather(1, slots)], 1)

    real = torch.cat([layout.valid, ~none], 1)
    unseen = torch.cat([order, torch.full_like(slots, UNSEEN)], 1)
    reach = there(order) - torch.cat([torch.zeros_like(order), torch.ones_like(slots)], 1)
    joined = Layout(
        unseen.masked_fill(~real, -1),
        there(torch.zeros_like(order) if layout.segments is None else layout.segments),
        marks=mapped(layout.marks, there),
        view=View(there(layout.place).masked_fill(~real, -1), reach),
    )
    x = embed(ids, layout)
    queries = dropout(embed.blank.to(x.dtype).expand(*wanted.shape, -1), embed.p, model.training)
    return stack(torch.cat([x, queries], 1), joined)[0][:, ids.shape[1] :]


def drawn(layout: Layout, fraction: float, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Returns order (B, T) and slots (B, K) at random: `fraction` of each row's tokens, at least one, are predicted one
    after the other, orders 1, 2, ...; all others have order 0, and see one another. generator: on the CPU.
    """
    valid, (rows, tokens) = layout.valid, layout.positions.shape
    noise = torch.rand(rows, tokens, generator=generator).to(valid.device).masked_fill(~valid, 2.0)
    permutation, length = noise.argsort(1), valid.sum(1, keepdim=True)  # padding comes last
    count = (length * fraction).round().long().clamp(min=1).minimum(length)
    order = (permutation.argsort(1) - (length - count) + 1).clamp(min=0).masked_fill(~valid, 0)
    steps = torch.arange(int(count.amax()), device=valid.device)
    wanted = permutation.gather(1, (length - count + steps).clamp(max=tokens - 1))
    return order, wanted.masked_fill(steps >= count, -1)


def permutation_loss(learner: Learner, batch: Batch, fraction: float) -> Loss:
    """Returns the cross entropy of predicted tokens of the input; in evaluation, of the same ones each time."""
    model = getattr(learner, "model", learner)
    assert isinstance(model, Model)
    if batch.offset is not None:
        raise UserError("objective=permutation reads each batch alone; set batch.carry=false")
    order, wanted = drawn(batch.layout, fraction, None if model.training else torch.Generator().manual_seed(0))
    is_real = wanted >= 0
    hidden = two_streams(model, batch.inputs, batch.layout, order, wanted)[is_real]
    total, nll = model.token_head.loss(hidden, batch.inputs.gather(1, wanted.clamp(min=0))[is_real])
    return Loss(total, torch.tensor(hidden.shape[0]), {"nll": nll})


@dataclass(frozen=True, kw_only=True)
class PermutationConfig(ObjectiveConfig):
    """-log p(token | all but the predicted ones, those predicted before), in random order.   Yang et al. 2019.

    arXiv:1906.08237, eq. 5.

    fraction: of the tokens that are predicted, the last ones of the order (1/K, K = 6).
    """

    kind: ClassVar[str] = "permutation"
    fraction: float = 1 / 6

    def build(self) -> Objective:
        if not 0.0 < self.fraction <= 1.0:
            raise UserError(f"fraction={self.fraction} must be above 0 and at most 1: the part that is predicted")
        return partial(permutation_loss, fraction=self.fraction)
