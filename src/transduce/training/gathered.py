"""The gradient of an update: batch by batch, or of the pairs of all its batches compared with one another."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import Tensor

from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.objectives.contrastive import Contrast, identities, require_others
from transduce.objectives.objective import Learner, Loss, Objective, with_noted
from transduce.runs.generators import rng_state, set_rng_state

Low = Callable[[], AbstractContextManager[object]]  # in which a model computes


def backward(objective: Objective, learner: Learner, batches: Iterable[Batch], low: Low) -> list[Loss]:
    """Adds the gradient of the sum of the losses of batches to the parameters. Returns these losses.

    An objective that compares pairs of a batch gives one loss, of all batches as if they were one; it raises UserError
    where there is one pair in all.
    """
    if isinstance(objective, Contrast):
        require_others(batches := list(batches))
        if len(batches) > 1:
            return [gathered(objective, learner, batches, low)]
    losses = list[Loss]()
    for batch in batches:
        with low():
            losses.append(objective(learner, batch))
        losses[-1].total.backward()
    return losses


def gathered(objective: Contrast, learner: Learner, batches: list[Batch], low: Low) -> Loss:
    """Adds the gradient of the loss of all pairs of batches, of which one at a time is in memory.

    First all vectors are computed, and the gradient of the loss with respect to them; then each batch is computed
    again, with the same dropout, and takes its part of that gradient further.   Gao et al. 2021, arXiv:2101.06983.
    """
    device, states, sides = batches[0].targets.device, list[dict[str, Tensor]](), list[tuple[Tensor, ...]]()
    for batch in batches:
        states.append(rng_state(device))
        with torch.no_grad(), low(), collecting():
            sides.append(objective.vectors(learner, batch))
    u, v, hard = (torch.cat(one).requires_grad_() for one in zip(*sides, strict=True))
    loss = objective.of(learner, u, torch.cat([v, hard]), identities(batches))
    loss.total.backward()
    out, parts = loss._replace(total=loss.total.detach()), list[tuple[Tensor, ...]]()
    for whole, own in zip((u, v, hard), zip(*sides, strict=True), strict=True):
        assert whole.grad is not None
        parts.append(cast("tuple[Tensor, ...]", whole.grad.split([len(one) for one in own])))
    for batch, state, *slopes in zip(batches, states, *parts, strict=True):
        set_rng_state(state, device)
        with low(), collecting() as noted:
            vectors = objective.vectors(learner, batch)
        beside = with_noted(Loss(u.new_zeros(()), torch.tensor(len(slopes[0])), {}), noted)
        along = [(one * slope).sum() for one, slope in zip(vectors, slopes, strict=True)]
        (sum(along[1:], along[0]) + beside.total).backward()
        metrics = {name: out.metrics.get(name, 0) + value for name, value in beside.metrics.items()}
        out = Loss(out.total + beside.total.detach(), out.count, {**out.metrics, **metrics})
    return out
