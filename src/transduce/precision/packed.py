"""Matrices laid out for oneDNN, as numbers of float32 or bfloat16."""

import torch
from torch import Tensor, nn

from transduce.model.ops.rows import alike, linear, more

WORTH = 1 << 19  # multiplications; for fewer, calling oneDNN takes longer than MKL does
LARGE = 1 << 16  # numbers of a matrix that is worth it whatever the number of rows
DEEP = 1 << 10  # numbers that oneDNN adds up in one go; of more, a lone row adds up in another order
PAIR = 4  # rows that it multiplies as it multiplies many, whatever the depth


class Packed(nn.Module):
    """x W^T + b on a CPU, in float32 or bfloat16, whatever x is in. Bfloat16 is packed where the processor has it.

    keep: whether the matrix stays beside the packed one, which takes over where there is little to multiply. Without it
    `weight` is all NaN; to be used where one row is worth packing, so that results are the same.
    lone: the matrix itself multiplies one row, in float32.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype = torch.float32, keep: bool = True,
        lone: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight, self.bias = frozen(weight.to(dtype)), None if bias is None else frozen(bias.to(dtype))
        self.packed: Tensor | None = None
        if dtype == torch.float32 or packs_bfloat16(self.weight):
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous())
        self.out_features, self.in_features = weight.shape
        self.lone = lone and keep and dtype == torch.float32
        if not keep:
            assert self.packed is not None
            assert weight.numel() >= WORTH
            del self.weight
            self.weight = torch.full((1, 1), torch.nan, dtype=dtype).expand(self.out_features, self.in_features)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        same = alike(x)  # then the number of rows has no say in it
        small = self.weight.numel() < LARGE if same else x.numel() * self.out_features < WORTH
        if self.packed is None or small or (self.lone and not same and x.numel() == self.in_features):
            return linear(x, self.weight, self.bias)
        if same and self.in_features > DEEP and x.numel() == self.in_features:
            return self(more(x.reshape(1, -1), PAIR))[:1].view(*x.shape[:-1], -1)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


def frozen(weight: Tensor) -> nn.Parameter:
    """Returns the same memory, out of the reach of gradients."""
    return nn.Parameter(weight.detach(), requires_grad=False)


def packs_bfloat16(weight: Tensor) -> bool:
    """Says whether oneDNN packs matrices in bfloat16 on this processor."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and torch.ops.mkldnn._is_mkldnn_bf16_supported()
