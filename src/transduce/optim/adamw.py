"""AdamW for everything.

Tested in tests/optim/test_optim.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torch.optim import Optimizer

from transduce.optim import MomentsConfig, grouped


@dataclass(frozen=True, kw_only=True)
class AdamWConfig(MomentsConfig):
    """Adam with decoupled weight decay.   Loshchilov and Hutter 2019, arXiv:1711.05101."""

    kind: ClassVar[str] = "adamw"

    def build(self, model: nn.Module) -> list[Optimizer]:
        return [self.adamw(grouped(model), self.wide(model))]
