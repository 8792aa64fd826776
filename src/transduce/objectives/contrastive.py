"""Learning vectors from pairs: the two of a pair are alike, those of other pairs of the batch are not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.errors import UserError
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.heads.joint import Joint
from transduce.model.models import Model
from transduce.model.towers import sides
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, model_of, with_noted
from transduce.objectives.rows import require_pooled

TEMPERATURE = 0.05  # where no head learns one
ALONE = "an update has one pair, and no other from which it could be told; raise batch.batch_tokens, or give more pairs"

Compare = Callable[[Learner, Tensor, Tensor, Tensor], Loss]


@dataclass(frozen=True)
class Contrast:
    """An objective of pairs, which may be asked in two steps, so that pairs of several batches are compared.

    kind: its name. compare: vectors (N, F) of the first and of the second ones, and which each is, to a loss.
    """

    kind: str
    compare: Compare

    def __call__(self, model: Learner, batch: Batch) -> Loss:
        with collecting() as noted:
            u, v = self.vectors(model, batch)
        return with_noted(self.of(model, u, v, batch.targets), noted)

    def vectors(self, model: Learner, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns (B, F) vectors of length 1 of the first ones, which are the inputs, and of the second, the source."""
        if batch.source is None or batch.source_layout is None or batch.targets.ndim != 1:
            what = f"objective={self.kind} reads pairs, which other tasks do not have"
            raise UserError(f"{what}; use task=embed for texts, or task=match for pictures with captions")
        readers = sides(model_of(model))
        assert readers is not None
        first = batch._replace(source=None, source_layout=None)
        second = first._replace(inputs=batch.source, layout=batch.source_layout)
        pairs = zip(readers, (first, second), strict=True)
        rows = [own.pooled_head(own.features(one), own.arranged(one.layout)) for own, one in pairs]
        return F.normalize(rows[0], dim=-1), F.normalize(rows[1], dim=-1)

    def of(self, model: Learner, u: Tensor, v: Tensor, which: Tensor) -> Loss:
        """Returns the loss of so many pairs. which: (N,), of equal ones none is a wrong answer to another."""
        with torch.autocast(u.device.type, enabled=False):  # a scale of 100 leaves bfloat16 no digit
            return self.compare(model, u, v, which)


def require_sides(model: Model, objective: ObjectiveConfig) -> None:
    """Raises UserError unless a model reads each of a pair by itself, and gives a vector of it."""
    require_pooled(model, objective)
    if sides(model) is None:
        what = f"objective={objective.kind} reads each of a pair by itself"
        raise UserError(f"{what}; use model.kind=encoder, decoder or, for pictures with captions, towers")


def require_others(batches: Sequence[Batch]) -> None:
    """Raises UserError where the batches of an update have one pair in all, from which nothing can be learnt."""
    if sum(len(batch.targets) for batch in batches) < 2:
        raise UserError(ALONE)


def logits(model: Learner, u: Tensor, v: Tensor, temperature: float) -> Tensor:
    """Returns (N, N) logits of vectors: as the head has learnt, else cosines over a temperature."""
    head = model.pooled_head
    return head.scores(u, v) if isinstance(head, Joint) else u @ v.T / temperature


def others(which: Tensor) -> Tensor:
    """Returns (N, N) bool: another pair with the same one, which is no wrong answer."""
    own = torch.eye(len(which), dtype=torch.bool, device=which.device)
    return (which[:, None] == which) & ~own


def softmax_contrast(
    model: Learner, u: Tensor, v: Tensor, which: Tensor, *, temperature: float, both_ways: bool
) -> Loss:  # fmt: skip
    """Returns -log softmax_j(logit of u_i and v_j) at j = i, over the pairs."""
    scores = logits(model, u, v, temperature).masked_fill(others(which), -torch.inf)
    own = torch.arange(len(which), device=which.device)
    there = F.cross_entropy(scores, own, reduction="sum")
    total = (there + F.cross_entropy(scores.T, own, reduction="sum")) / 2 if both_ways else there
    right = (scores.detach().argmax(-1) == own).sum()
    return Loss(total, torch.tensor(len(which)), {"nll": there.detach(), "train_accuracy": right})


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(ObjectiveConfig):
    """-log softmax_j(cos(u_i, v_j) / temperature) at j = i: which second one of the batch belongs to a first one.

    Henderson et al. 2017, arXiv:1705.00652, sec. 4; van den Oord et al. 2018, arXiv:1807.03748. The loss of a pair
    depends on those beside it: larger batches are harder. With train.accumulate the pairs of an update are compared
    with one another, as if they were one batch (Gao et al. 2021, arXiv:2101.06983).

    temperature: by which cosines are divided; head=joint learns one of its own.
    both_ways: the mean of this and of the same from the second to the first (Radford et al. 2021, arXiv:2103.00020).
    """

    kind: ClassVar[str] = "contrastive"
    head: ClassVar[str] = "vector"
    in_batch: ClassVar[bool] = True
    temperature: float = TEMPERATURE
    both_ways: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(f"temperature={self.temperature} must be more than 0; use 0.05")

    def build(self) -> Objective:
        def compare(model: Learner, u: Tensor, v: Tensor, which: Tensor) -> Loss:
            return softmax_contrast(model, u, v, which, temperature=self.temperature, both_ways=self.both_ways)

        return Contrast(self.kind, compare)

    def require_head(self, model: Model) -> None:
        require_sides(model, self)
        if isinstance(model.head, Joint) and self.temperature != TEMPERATURE:
            what = f"objective.temperature={self.temperature}, but model.head=joint learns its own"
            raise UserError(f"{what}; leave it out, or begin at model.head.scale={1 / self.temperature:g}")
