"""Normalisation over the batch: the control.

Tested in tests/model/test_norms.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.model.norms.norm import NormConfig, accurate, require_eps
from transduce.model.roles import NORM, Roles


class BatchNorm(nn.Module):
    """g (x - mean) / sqrt(var + eps) + b, statistics of each feature over all leading dimensions."""

    roles: ClassVar[Roles] = NORM

    mean: Tensor  # (M,) running averages
    var: Tensor

    def __init__(self, width: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(width)), nn.Parameter(torch.empty(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Tensor) -> Tensor:
        slots, trained = accurate(x).flatten(0, -2), (self.weight, self.bias)
        y = F.batch_norm(slots, self.mean, self.var, *trained, self.training, self.momentum, self.eps)
        return y.view(x.shape).to(x.dtype)


@dataclass(frozen=True, kw_only=True)
class BatchNormConfig(NormConfig):
    """g (x - mean) / sqrt(var + eps) + b over rows and tokens.   Ioffe & Szegedy 2015, arXiv:1502.03167, alg. 1.

    The control: in training, what a token becomes depends on the rest of its batch, padded slots included, and on how
    it is cut into micro-batches. In evaluation, running averages take the place of the batch.

    eps: what is added to the variance.
    momentum: how far the running averages move per batch (with train.recompute, twice).
    """

    kind: ClassVar[str] = "batch-norm"
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        require_eps(self.eps, above=0.0)  # as torch asks

    def build(self, width: int) -> nn.Module:
        return BatchNorm(width, self.eps, self.momentum)
