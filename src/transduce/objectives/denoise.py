"""Removing noise: what a diffusion model learns.

Tested in tests/objectives/test_denoise.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from transduce.errors import UserError, require_probability
from transduce.model.auxiliary import collecting
from transduce.model.batch import Batch
from transduce.model.heads.head import PooledHead
from transduce.model.heads.pixels import PixelsHead
from transduce.model.models import Model, without
from transduce.model.process.process import Parts, Process
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, with_noted

GOLDEN = 0.6180339887498949  # whose multiples spread most evenly over the times


def noise_of(batch: Batch, like: Tensor, training: bool) -> Tensor:
    """Returns noise for the rows of a batch, in the shape of `like` (B, ...).

    In training from the generator that checkpoints keep; else of the numbers of the examples alone, so that all
    validations see the same noise.
    """
    if training:
        return torch.randn(like.shape, device=like.device, dtype=like.dtype)
    rows = [torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(n)) for n in numbers_of(batch)]
    return torch.stack(rows).to(like)


def numbers_of(batch: Batch) -> Sequence[int]:
    """Returns the numbers of the examples of a batch, or where it has none, of its rows."""
    rows = len(batch.inputs)
    return batch.examples if len(batch.examples) == rows else range(rows)


def drawn(batch: Batch, training: bool) -> tuple[Tensor, Tensor]:
    """Returns noise in the shape of the inputs, and a share of all times, (B,) in [0, 1), as `noise_of` does."""
    x = batch.inputs
    noise = noise_of(batch, x, training)
    if training:
        return noise, torch.rand(len(x), device=x.device)
    return noise, torch.tensor([number * GOLDEN % 1 for number in numbers_of(batch)], device=x.device)


def noise_loss(learner: Learner, batch: Batch, model: Model, process: Process, drop: float) -> Loss:
    """Returns (prediction - target)^2, the mean over the numbers of each row, summed over rows."""
    noise, shares = drawn(batch, learner.training)
    parts, time, given = Parts(batch.inputs, noise), process.learnt(shares), model.request_of(batch)
    if learner.training and drop and model.guides:
        blank = torch.rand(len(given), device=given.device) < drop
        given = torch.where(blank.view(-1, *[1] * (given.ndim - 1)), model.no_request(len(given)), given)
    with collecting() as noted:
        predicted = model.denoise(process.noised(parts, time), time, given, batch.layout)
    each = (predicted - process.target(parts, time).to(predicted.dtype)).square().flatten(1).mean(1)
    each = each if batch.weights is None else each * batch.weights
    count = torch.tensor(len(each)) if batch.weights is None else batch.weights.sum()
    return with_noted(Loss(each.sum(), count, {"nll": each.detach().sum()}), noted)


@dataclass(frozen=True, kw_only=True)
class NoiseConfig(ObjectiveConfig):
    """||prediction - target||^2 at a random time, the mean over numbers.   Ho et al. 2020, arXiv:2006.11239, eq. 14.

    The process of the model (model.process) says what is predicted: the noise, the data, v, or the speed of a flow.

    drop: the share of rows whose class or caption is not told, from which guidance learns what it is to be told none
        (Ho & Salimans 2022, arXiv:2207.12598, alg. 1).
    """

    kind: ClassVar[str] = "denoise"
    head: ClassVar[str] = "pixels"
    drop: float = 0.1

    def __post_init__(self) -> None:
        require_probability(drop=self.drop)

    def build_for(self, model: Model, tokenizer: object) -> Objective:
        self.require_head(model)
        assert model.process is not None
        return partial(noise_loss, model=model, process=model.process, drop=self.drop)

    def require_head(self, model: Model) -> None:
        if model.process is None or getattr(model.towers()[-1].embed, "weight", None) is not None:
            way = "use model.kind=denoiser, with model.embedding=patches, or vectors"
            raise UserError(
                f"objective={self.kind} removes noise from numbers, with a model told how much it is; {way}"
            )
        if not isinstance(model.head, PooledHead | PixelsHead):
            what = f"objective={self.kind} predicts all numbers of a row, but {without(model.head)}"
            raise UserError(f"{what}; set model.head={self.head}")
