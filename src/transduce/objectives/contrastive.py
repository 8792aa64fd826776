"""Learning vectors from pairs: the two of a pair are alike, those of other pairs of the batch are not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.errors import UserError
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch, Value
from transduce.model.heads.joint import Joint
from transduce.model.layout import Layout
from transduce.model.models import Model
from transduce.model.towers import sides
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, model_of, with_noted
from transduce.objectives.rows import require_pooled

TEMPERATURE = 0.05  # where no head learns one
ALONE = "an update has one pair, and no other from which it could be told; raise batch.batch_tokens, or give more pairs"

Compare = Callable[[Learner, Tensor, Tensor, Tensor], Loss]


class Negatives(NamedTuple):
    """Second ones that no first one of a batch belongs to, but may be taken for its own: hard negatives.

    They are rows of their own, K of them, since not every pair has one.
    """

    inputs: Value  # (K, N) ids, as the source
    layout: Layout
    which: Tensor  # (K,) int64, numbered with the targets: equal numbers are the same one


def negatives(batch: Batch) -> Negatives | None:
    """Returns the hard negatives of a batch of pairs; None: it has none."""
    return batch.extra if isinstance(batch.extra, Negatives) else None


def identities(batches: Sequence[Batch]) -> Tensor:
    """Returns (N + K,) int64: which each second one is, of all pairs of some batches, then of all hard negatives."""
    hard = [one.which for one in map(negatives, batches) if one is not None]
    return torch.cat([*(batch.targets for batch in batches), *hard])


@dataclass(frozen=True)
class Contrast:
    """An objective of pairs, which may be asked in two steps, so that pairs of several batches are compared.

    kind: its name.
    compare: vectors (N, F) of the first ones, those (N + K, F) of the second ones and behind them of hard negatives,
        and which each of these is, to a loss.
    """

    kind: str
    compare: Compare

    def __call__(self, model: Learner, batch: Batch) -> Loss:
        with collecting() as noted:
            u, v, hard = self.vectors(model, batch)
        return with_noted(self.of(model, u, torch.cat([v, hard]), identities([batch])), noted)

    def vectors(self, model: Learner, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Returns vectors of length 1: (B, F) of the first ones, which are the inputs, (B, F) of the second, which are
        the source, and (K, F) of hard negatives."""
        if batch.source is None or batch.source_layout is None or batch.targets.ndim != 1:
            what = f"objective={self.kind} reads pairs, which other tasks do not have"
            raise UserError(f"{what}; use task=embed for texts, or task=match for pictures with captions")
        readers = sides(model_of(model))
        assert readers is not None
        first = batch._replace(source=None, source_layout=None)
        second = first._replace(inputs=batch.source, layout=batch.source_layout)
        hard = negatives(batch)
        third = None if hard is None else first._replace(inputs=hard.inputs, layout=hard.layout)
        of_each = zip((*readers, readers[1]), (first, second, third), strict=True)
        u, v, *more = (
            F.normalize(own.pooled_head(own.features(one), own.arranged(one.layout)), dim=-1)
            for own, one in of_each
            if one is not None
        )
        return u, v, more[0] if more else v[:0]

    def of(self, model: Learner, u: Tensor, v: Tensor, which: Tensor) -> Loss:
        """Returns the loss of N pairs. which: (N + K,), of equal ones none is a wrong answer to another."""
        with torch.autocast(u.device.type, enabled=False):  # a scale of 100 leaves bfloat16 no digit
            return self.compare(model, u, v, which)


def require_sides(model: Model, objective: ObjectiveConfig) -> None:
    """Raises UserError unless a model reads each of a pair by itself, and gives a vector of it."""
    require_pooled(model, objective)
    if sides(model) is None:
        what = f"objective={objective.kind} reads each of a pair by itself"
        raise UserError(f"{what}; use model.kind=encoder, decoder or, for pictures with captions, towers")


def require_others(batches: Sequence[Batch]) -> None:
    """Raises UserError where the batches of an update have one pair and nothing else, so nothing can be learnt."""
    if len(identities(batches)) < 2:
        raise UserError(ALONE)


def logits(model: Learner, u: Tensor, v: Tensor, temperature: float) -> Tensor:
    """Returns (N, N + K) logits of vectors: as the head has learnt, else cosines over a temperature."""
    head = model.pooled_head
    return head.scores(u, v) if isinstance(head, Joint) else u @ v.T / temperature


def others(which: Tensor, pairs: int) -> Tensor:
    """Returns (N, N + K) bool: the same one elsewhere, which is no wrong answer. pairs: N."""
    own = torch.eye(pairs, len(which), dtype=torch.bool, device=which.device)
    return (which[:pairs, None] == which) & ~own


def softmax_contrast(
    model: Learner, u: Tensor, v: Tensor, which: Tensor, *, temperature: float, both_ways: bool
) -> Loss:  # fmt: skip
    """Returns -log softmax_j(logit of u_i and v_j) at j = i, over the pairs. No hard negative looks for a first one."""
    pairs = len(u)
    scores = logits(model, u, v, temperature).masked_fill(others(which, pairs), -torch.inf)
    own = torch.arange(pairs, device=which.device)
    there = F.cross_entropy(scores, own, reduction="sum")
    total = (there + F.cross_entropy(scores[:, :pairs].T, own, reduction="sum")) / 2 if both_ways else there
    right = (scores.detach().argmax(-1) == own).sum()
    return Loss(total, torch.tensor(pairs), {"nll": there.detach(), "train_accuracy": right})


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(ObjectiveConfig):
    """-log softmax_j(cos(u_i, v_j) / temperature) at j = i: which second one of the batch belongs to a first one.

    Henderson et al. 2017, arXiv:1705.00652, sec. 4; van den Oord et al. 2018, arXiv:1807.03748. The loss of a pair
    depends on those beside it: larger batches are harder. Where rows have a hard negative, v_j are the second ones of
    all pairs and all hard negatives (Karpukhin et al. 2020, arXiv:2004.04906, eq. 2). With train.accumulate the pairs
    of an update are compared with one another, as if they were one batch (Gao et al. 2021, arXiv:2101.06983).

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
