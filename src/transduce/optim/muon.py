"""Muon: momentum whose singular values are all set to one, for matrices; AdamW for the rest.

Tested in tests/optim/test_optim.py.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from transduce.optim import MomentsConfig, grouped

QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """Returns about U V^T where g = U S V^T: the odd polynomial a x + b x x^T x + c (x x^T)^2 x, `steps` times.

    The coefficients rise steeply at zero and need not converge: singular values end between about 0.7 and 1.2.
    g: (..., A, B).  Jordan et al. 2024, kellerjordan.github.io/posts/muon.
    """
    a, b, c = QUINTIC
    x = g.mT if g.shape[-2] > g.shape[-1] else g  # the smaller side first: x x^T is the smaller product
    x = x / x.square().sum((-2, -1), keepdim=True).sqrt().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if g.shape[-2] > g.shape[-1] else x


class Muon(Optimizer):
    """W <- W - rate * (0.2 sqrt(max(A, B)) orthogonalise(momentum) + weight_decay W)   for W: (..., A, B).

    The factor gives updates the size that AdamW's have, so one rate serves both (Liu et al. 2025, arXiv:2502.16982).
    Matrices of one shape are treated in one batch; on CUDA the products run in bfloat16.
    """

    def __init__(self, params: list[nn.Parameter], *, lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "peak": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[p.shape].append(p)
            for shape, params in alike.items():
                updates = orthogonalise(torch.stack([self.direction(p, group["momentum"]) for p in params]))
                size = group["lr"] * 0.2 * math.sqrt(max(shape[-2:]))
                for p, update in zip(params, updates.to(params[0].dtype), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-size)

    def direction(self, p: nn.Parameter, momentum: float) -> Tensor:
        """Returns nesterov momentum: the average of past gradients, looked at one step ahead."""
        state: dict[str, Any] = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        assert p.grad is not None
        ahead = p.grad.lerp(state["momentum"].lerp_(p.grad, 1 - momentum), momentum)
        return ahead.bfloat16() if p.is_cuda else ahead


@dataclass(frozen=True, kw_only=True)
class MuonConfig(MomentsConfig):
    """Orthogonalised momentum for matrices, AdamW for vectors and tables.   Jordan et al. 2024.

    momentum: decay of the mean of gradients of matrices.
    """

    kind: ClassVar[str] = "muon"
    momentum: float = 0.95

    def build(self, model: nn.Module) -> list[Optimizer]:
        parts, wide = grouped(model), self.wide(model)
        matrices = [p for group, p in parts if group == "matrix"]
        factor = wide.get(matrices[0], 1.0) if matrices else 1.0
        decay = self.weight_decay * factor
        muon = Muon(matrices, lr=self.learning_rate / factor, momentum=self.momentum, weight_decay=decay)
        return [muon, self.adamw(((group, p) for group, p in parts if group != "matrix"), wide)]
