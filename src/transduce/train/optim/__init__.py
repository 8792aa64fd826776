"""From gradients to an update: which optimiser moves which parameter, and which parameters decay."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from transduce.config import Part

Role = Literal["matrix", "table", "vector"]
TABLES = ("*embed.*", "*head.weight", "*positions.*")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Part, ABC):
    """What every optimiser has. `learning_rate` is the peak; the schedule multiplies it.

    Matrices decay; biases, gains and other vectors never do; tables (embeddings, the head) only if `decay_embeddings`.
    """

    folder: ClassVar[str] = "transduce.train.optim"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, ...] = (0.9, 0.98)
    eps: float = 1e-9
    decay_embeddings: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate} moves nothing, or nowhere; use a rate such as 0.001")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={list(self.betas)} must be two numbers from 0 to below 1, such as [0.9, 0.98]")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay={self.weight_decay} is negative or no number; use 0 for none")
        if not 0 < self.eps < math.inf:
            raise ValueError(f"eps={self.eps} must be a positive number, such as 1e-9: it keeps a division from 0")

    @abstractmethod
    def build(self, model: nn.Module) -> list[Optimizer]:
        """Optimisers that share the parameters of `model`, each parameter in exactly one of their groups."""

    def adamw(self, parameters: Iterable[tuple[Role, Tensor]]) -> AdamW:
        """AdamW with one group that decays and one that does not.   Loshchilov and Hutter 2019, arXiv:1711.05101."""
        decay: list[Tensor] = []
        keep: list[Tensor] = []
        for role, parameter in parameters:
            decays = role == "matrix" or (role == "table" and self.decay_embeddings)
            (decay if decays else keep).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": params, "weight_decay": weight_decay, "peak": self.learning_rate}
            for params, weight_decay in ((decay, self.weight_decay), (keep, 0.0))
            if params
        ]
        return AdamW(groups, lr=self.learning_rate, betas=(self.betas[0], self.betas[1]), eps=self.eps, fused=True)


def roles(model: nn.Module) -> list[tuple[Role, nn.Parameter]]:
    """Every trainable parameter once, with its role by name and shape: a table has a row per token or per place."""

    def role(name: str, p: nn.Parameter) -> Role:
        if p.ndim < 2:
            return "vector"
        return "table" if any(fnmatchcase(name, pattern) for pattern in TABLES) else "matrix"

    return [(role(name, p), p) for name, p in model.named_parameters() if p.requires_grad]


def set_rate(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Every group's rate becomes `factor` times its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
