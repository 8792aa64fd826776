"""Blocks move one after the other, from the first one up, each with a map that restores what it was given.

Tested in tests/objectives/test_layer_wise.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from transduce.errors import UserError, require_at_least
from transduce.model.heads.projection import ProjectionHead, ProjectionHeadConfig
from transduce.model.layered import RESTORE, each_block, width_of_block
from transduce.model.models import Model
from transduce.tune.tuning import TuneConfig

OBJECTIVE = "denoising-autoencoder"  # the one that the maps beside the blocks are for


@dataclass(frozen=True, kw_only=True)
class LayerWise(TuneConfig):
    """Block 1 moves, then block 2, ..., and with each its map W h + b, which starts at 0; nothing else moves.

    Bengio et al. 2007; Erhan et al. 2010, JMLR 11, sec. 3. The maps are for objective=denoising-autoencoder, and
    `start=` of another recipe leaves them behind.

    updates: after which the next block begins to move, and the one before it stays; the last one moves to the end.
    """

    kind: ClassVar[str] = "layer-wise"
    updates: int = 500

    def __post_init__(self) -> None:
        require_at_least(1, updates=self.updates)

    def require_objective(self, kind: str) -> None:
        if kind != OBJECTIVE:
            raise UserError(
                f"tune=layer-wise trains each block to restore what it was given, which objective={kind} does not; "
                f"set objective={OBJECTIVE}, or another tune"
            )

    def adapt(self, model: Model, generator: torch.Generator) -> list[str]:
        """Puts a map beside each block, among the heads."""
        blocks = each_block(model)
        for number, block in enumerate(blocks, 1):
            width = width_of_block(block)
            head = ProjectionHead(width, ProjectionHeadConfig(size=width, bias=True))
            for p in head.parameters():
                torch.nn.init.zeros_(p)
            model.heads[RESTORE.format(number)] = head.to(next(block.parameters()))
        return [f"{len(blocks)} block{'s' * (len(blocks) > 1)}, one after the other, each for {self.updates} updates"]

    def labels(self, model: Model) -> dict[Tensor, str]:
        """The number of the block of each parameter, of how many; base: it never moves."""
        groups, blocks = dict[Tensor, str](), each_block(model)
        for number, block in enumerate(blocks, 1):
            name = RESTORE.format(number)
            own = [*block.parameters(), *(model.heads[name].parameters() if name in model.heads else ())]
            groups |= {p: f"{number} of {len(blocks)}" for p in own if p not in groups}
        return {p: groups.get(p, "base") for p in model.parameters()}

    def factor(self, label: str, step: int) -> float:
        if not self.moves(label):
            return 0.0
        number, last = map(int, label.split(" of "))
        return float(min((step - 1) // self.updates + 1, last) == number)

    def moves(self, label: str) -> bool:
        return label != "base"
