"""Token ids to vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.model.layout import Layout
from transduce.model.ops.dropout import dropout
from transduce.model.positions.position import Positions


class Embedding(nn.Module):
    """dropout(E[ids] * scale + positions).   Vaswani et al. 2017, secs. 3.4 and 5.4.

    scale: sqrt(width) where E starts with standard deviation width^-1/2, so that its vectors start with unit variance.
    """

    def __init__(self, vocab_size: int, width: int, positions: Positions, scale: float, p: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, width))
        self.positions, self.scale, self.p = positions, scale, p

    def forward(self, ids: Tensor, layout: Layout) -> Tensor:
        """(B, T) -> (B, T, M)."""
        x = F.embedding(ids, self.weight)
        x = x * self.scale if self.scale != 1.0 else x
        return dropout(self.positions.add(x, layout.positions), self.p, self.training)
