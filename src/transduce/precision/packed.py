"""Matrices laid out for oneDNN, as numbers of float32 or bfloat16."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WORTH = 1 << 19  # multiplications; for fewer, calling oneDNN takes longer than MKL does


class Packed(nn.Module):
    """x W^T + b on a CPU, in float32 or bfloat16, whatever x is in. Bfloat16 is packed where the processor has it.

    keep: whether the matrix stays beside the packed one, which takes over where there is little to multiply. Without it
    `weight` is all NaN; to be used where one row is worth packing, so that results are the same.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype = torch.float32, keep: bool = True
    ) -> None:
        super().__init__()
        self.weight, self.bias = frozen(weight.to(dtype)), None if bias is None else frozen(bias.to(dtype))
        self.packed: Tensor | None = None
        if dtype == torch.float32 or packs_bfloat16(self.weight):
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous())
        self.out_features, self.in_features = weight.shape
        if not keep:
            assert self.packed is not None
            assert weight.numel() >= WORTH
            del self.weight
            self.weight = torch.full((1, 1), torch.nan, dtype=dtype).expand(self.out_features, self.in_features)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if self.packed is None or x.numel() * self.out_features < WORTH:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


def frozen(weight: Tensor) -> nn.Parameter:
    """The same memory, out of the reach of gradients."""
    return nn.Parameter(weight.detach(), requires_grad=False)


def packs_bfloat16(weight: Tensor) -> bool:
    """Says whether oneDNN packs matrices in bfloat16 on this processor."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and torch.ops.mkldnn._is_mkldnn_bf16_supported()
