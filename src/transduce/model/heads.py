"""Hidden states to logits."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Head(nn.Module):
    """logits = hidden W^T. W is the embedding where they are tied.   Press & Wolf 2017, arXiv:1608.05859."""

    def __init__(self, vocab_size: int, width: int, tied: nn.Parameter | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, width)) if tied is None else tied

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., M) -> (..., V), float32 (float64 where the weights are)."""
        logits = F.linear(hidden, self.weight)
        return logits if logits.dtype == torch.float64 else logits.float()
