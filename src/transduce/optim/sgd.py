"""Stochastic gradient descent, with momentum if asked for.

Tested in tests/optim/test_optim.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torch.optim import SGD, Optimizer

from transduce.optim import OptimizerConfig, grouped


@dataclass(frozen=True, kw_only=True)
class SGDConfig(OptimizerConfig):
    """w <- w - rate * m,  m <- momentum m + gradient.   Robbins & Monro 1951; Polyak 1964; Nesterov 1983.

    momentum: share of the step before that is added to a step.
    nesterov: the gradient is looked at where that momentum leads.
    """

    kind: ClassVar[str] = "sgd"
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} must be from 0 to below 1; use 0.9, or 0 for none")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=true needs momentum; set momentum=0.9")

    def build(self, model: nn.Module) -> list[Optimizer]:
        groups = self.groups(grouped(model), self.wide(model))
        return [SGD(groups, lr=self.learning_rate, momentum=self.momentum, nesterov=self.nesterov)]
