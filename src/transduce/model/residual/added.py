"""Changes to a sublayer's output before it joins the stream, the same for every placement.

Tested in tests/model/test_residual.py.
"""

import torch
from torch import Tensor, nn

from transduce.model.init.init import Initialiser, constant
from transduce.model.ops.dropout import dropout


def drop_rows(y: Tensor, p: float) -> Tensor:
    """y / (1 - p) in the rows that are kept, 0 in each row (B, ...) with probability p."""
    keep = torch.rand(y.shape[0], *[1] * (y.ndim - 1), device=y.device) >= p
    return y * (keep / (1 - p)).to(y.dtype)


class Added(nn.Module):
    """drop_rows(scale * dropout(y)): dropout, layer scale, stochastic depth."""

    def __init__(self, width: int, dropout: float, drop_path: float, layer_scale: float | None) -> None:
        super().__init__()
        self.p, self.path, self.first = dropout, drop_path, layer_scale
        self.scale = None if layer_scale is None else nn.Parameter(torch.empty(width))

    def start(self) -> dict[str, Initialiser]:
        return {} if self.first is None else {"scale": constant(self.first)}

    def forward(self, y: Tensor) -> Tensor:
        y = dropout(y, self.p, self.training)
        y = y if self.scale is None else y * self.scale
        return drop_rows(y, self.path) if self.training and self.path else y
