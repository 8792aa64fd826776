"""Layers move at rates of their own, and from the last one down, one after the other.

Tested in tests/tune/test_adapters.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from transduce.errors import require_at_least
from transduce.model.models import Model
from transduce.tune.tuning import TuneConfig


@dataclass(frozen=True, kw_only=True)
class ULMFiT(TuneConfig):
    """Discriminative fine-tuning and gradual unfreezing, for any stack of blocks.

    Howard and Ruder 2018, arXiv:1801.06146. The head is the uppermost group, then come the blocks from the last to the
    first (of a decoder, then of its encoder), and the embedding. A table that the head shares with the embedding moves
    with the head.

    decay: the rate of a group is that of the group above it divided by this (sec. 3.2: 2.6).
    unfreeze_steps: updates after which one more group begins to move (sec. 3.3: an epoch; 0: all move from the first).
    """

    kind: ClassVar[str] = "ulmfit"
    decay: float = 2.6
    unfreeze_steps: int = 0

    def __post_init__(self) -> None:
        require_at_least(0, unfreeze_steps=self.unfreeze_steps)
        if not 1 <= self.decay < float("inf"):
            raise ValueError(
                f"decay={self.decay} would move lower layers faster, or not at all; use 2.6, or 1 for one rate"
            )

    def labels(self, model: Model) -> dict[Tensor, str]:
        """The number of the group of each parameter, from the head down."""
        groups: dict[Tensor, str] = {}
        heads = [head for head in (model.head, *model.heads.values()) if head is not None]
        for head in heads:
            groups |= dict.fromkeys(head.parameters(), "0")
        depth = 0
        for stack in reversed(model.stacks()):
            blocks = list(stack.blocks)
            inside = {p for block in blocks for p in block.parameters()}
            above = str(depth + 1)  # what a stack has beside its blocks, a norm at its end, moves with the last of them
            groups |= {p: above for p in stack.parameters() if p not in inside and p not in groups}
            for block in reversed(blocks):
                depth += 1
                groups |= {p: str(depth) for p in block.parameters() if p not in groups}
        return {p: groups.get(p, str(depth + 1)) for p in model.parameters()}

    def factor(self, label: str, step: int) -> float:
        depth = int(label)
        return self.decay**-depth if step > depth * self.unfreeze_steps else 0.0
