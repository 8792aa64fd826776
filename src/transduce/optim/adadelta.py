"""Adadelta: steps as large as the steps before them.

Tested in tests/optim/test_optim.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torch.optim import Adadelta, Optimizer

from transduce.optim import OptimizerConfig, grouped, require_positive


@dataclass(frozen=True, kw_only=True)
class AdadeltaConfig(OptimizerConfig):
    """Gradients scaled by the ratio of running sizes of steps and gradients.   Zeiler 2012, arXiv:1212.5701.

    rho: decay of the running sizes.
    eps: what is added to the mean squares.
    """

    kind: ClassVar[str] = "adadelta"
    learning_rate: float = 1.0
    weight_decay: float = 0.0
    rho: float = 0.95
    eps: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rho < 1:
            raise ValueError(f"rho={self.rho} must be from 0 to below 1; use 0.95")
        require_positive(eps=self.eps)

    def build(self, model: nn.Module) -> list[Optimizer]:
        groups = self.groups(grouped(model), self.wide(model))
        return [Adadelta(groups, lr=self.learning_rate, rho=self.rho, eps=self.eps)]
