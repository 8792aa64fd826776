"""Learning vectors from pairs: the two texts of a pair are alike, those of other pairs of the batch are not."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F

from transduce.errors import UserError
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted
from transduce.objectives.rows import require_pooled


def contrastive_loss(model: Learner, batch: Batch, temperature: float, both_ways: bool) -> Loss:
    """Returns -log softmax_j(cos(u_i, v_j) / temperature) at j = i, over the pairs of the batch.

    inputs: the first texts. source: the second ones. targets: (B,), which second text it is, so that one that stands in
    several pairs is no wrong answer to any of them.
    """
    if batch.source is None or batch.source_layout is None or batch.targets.ndim != 1:
        raise UserError("objective=contrastive reads pairs of texts, which other tasks do not have; use task=embed")
    with collecting() as noted:
        first = batch._replace(source=None, source_layout=None)
        second = first._replace(inputs=batch.source, layout=batch.source_layout)
        u, v = (F.normalize(model.pooled_head(model.features(one), one.layout), dim=-1) for one in (first, second))
    scores = u @ v.T / temperature
    ids = batch.targets
    other = torch.eye(len(ids), dtype=torch.bool, device=ids.device).logical_not_()
    scores = scores.masked_fill((ids[:, None] == ids) & other, -torch.inf)
    own = torch.arange(len(ids), device=ids.device)
    there = F.cross_entropy(scores, own, reduction="sum")
    total = (there + F.cross_entropy(scores.T, own, reduction="sum")) / 2 if both_ways else there
    right = (scores.detach().argmax(-1) == own).sum()
    loss = Loss(total, torch.tensor(len(ids)), {"nll": there.detach(), "train_accuracy": right})
    return with_noted(loss, noted)


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(ObjectiveConfig):
    """-log softmax_j(cos(u_i, v_j) / temperature) at j = i: which second text of the batch belongs to a first one.

    Henderson et al. 2017, arXiv:1705.00652, sec. 4; van den Oord et al. 2018, arXiv:1807.03748. The loss of a pair
    depends on those beside it: larger batches are harder, and gradients of several batches are not those of one.

    temperature: by which cosines are divided.
    both_ways: the mean of this and of the same from the second text to the first (Radford et al. 2021).
    """

    kind: ClassVar[str] = "contrastive"
    head: ClassVar[str] = "vector"
    in_batch: ClassVar[bool] = True
    temperature: float = 0.05
    both_ways: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(f"temperature={self.temperature} must be more than 0; use 0.05")

    def build(self) -> Objective:
        return partial(contrastive_loss, temperature=self.temperature, both_ways=self.both_ways)

    def require_head(self, model: Model) -> None:
        require_pooled(model, self)
        if len(model.towers()) > 1:
            raise UserError("objective=contrastive reads each text with one stack; use model.kind=encoder, or decoder")
