"""From gradients to an update: which optimiser moves which parameter, and which parameters decay."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from transduce.config import Part
from transduce.errors import require_at_least
from transduce.model.roles import Role, roles

Group = Literal["matrix", "table", "vector"]
TABLES: frozenset[Role] = frozenset(("table", "places", "lookup", "head"))  # a row per token or per place


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Part, ABC):
    """The keys of every optimiser.

    Matrices decay; biases, gains and other vectors never do.

    learning_rate: the peak, which the schedule multiplies.
    weight_decay: share of a weight that is taken off per update, times the learning rate.
    decay_embeddings: tables (embeddings, the head) decay too.
    mup_base_width: the width at which the learning rate was found, with init=mup: the rate of matrices and of the head
        is multiplied by base / width, their weight decay by width / base, Yang et al. 2022, arXiv:2203.03466, table 3
        (None: neither is).
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
        """Returns optimisers that share the parameters of `model`, each parameter in exactly one of their groups."""

    def wide(self, model: nn.Module) -> dict[Tensor, float]:
        """Returns by how much matrices, and a head of its own, are wider than at `mup_base_width`; {} without that."""
        if self.mup_base_width is None:
            return {}
        by_role = [(role, model.get_parameter(name)) for name, role in roles(model).items()]
        factor = next(p for role, p in by_role if role in ("table", "head")).shape[1] / self.mup_base_width
        heads = [p for role, p in by_role if role == "head"]
        return dict.fromkeys([*heads, *(p for group, p in grouped(model) if group == "matrix")], factor)

    def groups(self, parameters: Iterable[tuple[Group, Tensor]], wide: Mapping[Tensor, float]) -> list[dict[str, Any]]:
        """Returns parameters that share a peak rate and a weight decay."""
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for group, parameter in parameters:
            factor, decays = wide.get(parameter, 1.0), group == "matrix" or (group == "table" and self.decay_embeddings)
            settings = (self.weight_decay * factor if decays else 0.0, self.learning_rate / factor)
            groups.setdefault(settings, []).append(parameter)
        return [
            {"params": params, "weight_decay": decay, "lr": peak, "peak": peak}
            for (decay, peak), params in groups.items()
        ]


@dataclass(frozen=True, kw_only=True)
class MomentsConfig(OptimizerConfig, ABC):
    """The keys of optimisers with Adam's moments.

    betas: decay of the mean of gradients, and of their squares.
    eps: is added to the root of the mean square.
    """

    betas: tuple[float, ...] = (0.9, 0.98)
    eps: float = 1e-9

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={list(self.betas)} must be two numbers from 0 to below 1, such as [0.9, 0.98]")
        require_positive(eps=self.eps)

    def adamw(self, parameters: Iterable[tuple[Group, Tensor]], wide: Mapping[Tensor, float]) -> AdamW:
        """Returns AdamW, with groups that decay and others.   Loshchilov and Hutter 2019, arXiv:1711.05101."""
        betas = (self.betas[0], self.betas[1])
        return AdamW(self.groups(parameters, wide), lr=self.learning_rate, betas=betas, eps=self.eps, fused=True)


def require_positive(eps: float) -> None:
    if not 0 < eps < math.inf:
        raise ValueError(f"eps={eps} must be a positive number, such as 1e-9: it keeps a division from 0")


def grouped(model: nn.Module) -> list[tuple[Group, nn.Parameter]]:
    """Returns every trainable parameter once, with how it moves, which follows from its role and its dimensions."""

    def group(role: Role, p: nn.Parameter) -> Group:
        return "vector" if p.ndim < 2 else "table" if role in TABLES else "matrix"

    by_name = roles(model)
    return [(group(by_name[name], p), p) for name, p in model.named_parameters() if p.requires_grad]


def set_rate(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Sets every group's rate to `factor` times its peak, and times its own factor where it has one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor * group.get("factor", 1.0)
