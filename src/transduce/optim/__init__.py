"""From gradients to an update: which optimiser moves which parameter, and which parameters decay."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from transduce.config import Part
from transduce.errors import require_at_least

Role = Literal["matrix", "table", "vector"]
TABLES = ("*embed.weight", "*embed.types", "*bands.tables.*", "*head.weight", "*positions.*")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Part, ABC):
    """What every optimiser has. `learning_rate` is the peak; the schedule multiplies it.

    Matrices decay; biases, gains and other vectors never do; tables (embeddings, the head) only if `decay_embeddings`.
    mup_base_width: the width at which the learning rate was found (with init=mup): the rate of matrices and of the head
    is multiplied by base / width, their weight decay by width / base (Yang et al. 2022, arXiv:2203.03466, table 3).
    """

    folder: ClassVar[str] = "transduce.optim"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    decay_embeddings: bool = False
    mup_base_width: int | None = None

    def __post_init__(self) -> None:
        require_at_least(1, mup_base_width=self.mup_base_width)
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate} moves nothing, or nowhere; use a rate such as 0.001")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay={self.weight_decay} is negative or no number; use 0 for none")

    @abstractmethod
    def build(self, model: nn.Module) -> list[Optimizer]:
        """Optimisers that share the parameters of `model`, each parameter in exactly one of their groups."""

    def wide(self, model: nn.Module) -> dict[Tensor, float]:
        """How often wider matrices, and a head of its own, are than at `mup_base_width`; nothing without it."""
        if self.mup_base_width is None:
            return {}
        tables = {name: p for name, p in model.named_parameters() if name.endswith(("embed.weight", "head.weight"))}
        factor = next(iter(tables.values())).shape[1] / self.mup_base_width
        heads = [p for name, p in tables.items() if name.endswith("head.weight")]
        return dict.fromkeys([*heads, *(p for role, p in roles(model) if role == "matrix")], factor)

    def groups(self, parameters: Iterable[tuple[Role, Tensor]], wide: Mapping[Tensor, float]) -> list[dict[str, Any]]:
        """Parameters that share a peak rate and a weight decay."""
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for role, parameter in parameters:
            factor, decays = wide.get(parameter, 1.0), role == "matrix" or (role == "table" and self.decay_embeddings)
            settings = (self.weight_decay * factor if decays else 0.0, self.learning_rate / factor)
            groups.setdefault(settings, []).append(parameter)
        return [
            {"params": params, "weight_decay": decay, "lr": peak, "peak": peak}
            for (decay, peak), params in groups.items()
        ]


@dataclass(frozen=True, kw_only=True)
class MomentsConfig(OptimizerConfig, ABC):
    """What optimisers with Adam's moments have. betas: of the mean of gradients, and of their squares."""

    betas: tuple[float, ...] = (0.9, 0.98)
    eps: float = 1e-9

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={list(self.betas)} must be two numbers from 0 to below 1, such as [0.9, 0.98]")
        require_positive(eps=self.eps)

    def adamw(self, parameters: Iterable[tuple[Role, Tensor]], wide: Mapping[Tensor, float]) -> AdamW:
        """AdamW with groups that decay and groups that do not.   Loshchilov and Hutter 2019, arXiv:1711.05101."""
        betas = (self.betas[0], self.betas[1])
        return AdamW(self.groups(parameters, wide), lr=self.learning_rate, betas=betas, eps=self.eps, fused=True)


def require_positive(eps: float) -> None:
    if not 0 < eps < math.inf:
        raise ValueError(f"eps={eps} must be a positive number, such as 1e-9: it keeps a division from 0")


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
