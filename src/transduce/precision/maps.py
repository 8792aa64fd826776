"""Linear maps whose matrices lie in fewer bits. Their results have the precision of their inputs.

Every row is rounded on its own scale, so a row has the same result alone and among others. The matrix itself is given
up: `weight` has its shape and its type, and every number of it is NaN, so that whoever multiplies by it will see it.
"""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.model.heads.head import TokenHead, accurate
from transduce.model.heads.linear import LinearHead
from transduce.precision.codes import GROUP, TINY, Int4, Int8
from transduce.precision.packed import packs_bfloat16

per_channel: Any = torch._make_per_channel_quantized_tensor  # pyright: ignore
PRODUCT: Any = vars(torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default)[
    "_op"
]  # no Python between
ROWS = 16  # torch packs four-bit matrices of a multiple of so many rows
MANY = 8  # rows of bytes from which oneDNN multiplies faster than FBGEMM
VAST = 1 << 24  # numbers of a matrix, such as a large vocabulary's, beside which the call of oneDNN takes no time


class Map(nn.Module):
    """x W^T + b. in_features, out_features, bias: as those of nn.Linear. weight: (N, K), all NaN."""

    bias: Tensor | None

    def __init__(self, out_features: int, in_features: int, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = out_features, in_features
        self.register_buffer("bias", None if bias is None else bias.detach(), persistent=False)
        self.weight = torch.full((1, 1), torch.nan).expand(out_features, in_features)  # takes no memory


class LowMap(Map):
    """In bfloat16, which sums in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight.shape[0], weight.shape[1], None if bias is None else bias.bfloat16())
        low = weight.detach().bfloat16()
        self.packed = packs_bfloat16(low)
        if self.packed:
            low = torch.ops.mkldnn._reorder_linear_weight(low.contiguous())
        self.matrix: Tensor = low

    def forward(self, x: Tensor) -> Tensor:
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(x.bfloat16(), self.matrix, self.bias, "none", [], "").to(x.dtype)
        return F.linear(x.bfloat16(), self.matrix, self.bias).to(x.dtype)


class Int8Map(Map):
    """x as bytes, on a scale of each row, times `Int8` codes: a sum of integers, which is exact, times both scales.

    Few rows are multiplied by FBGEMM, which is called faster, many by oneDNN, whose kernels are faster; both give the
    same bits. Each packs the codes in its own way, so they lie twice, but those of a `VAST` matrix once.
    """

    def __init__(self, matrix: Int8, bias: Tensor | None) -> None:
        super().__init__(matrix.codes.shape[0], matrix.codes.shape[1], bias)
        self.many = ManyBytes(matrix) if multiplies_many_bytes() else None
        both = self.many is None or matrix.codes.numel() < VAST
        self.few = pack_int8(matrix) if both and multiplies_bytes() else None
        self.codes = matrix if self.few is None and self.many is None else None

    def forward(self, x: Tensor) -> Tensor:
        rows = x.float().reshape(-1, self.in_features)
        scale = rows.abs().amax(-1, keepdim=True).mul_(1 / 127).clamp_min_(TINY)
        whole = (rows / scale).round_()
        if self.many is not None and (self.few is None or len(rows) >= MANY):
            y = self.many(whole)
        elif self.few is not None:
            y = PRODUCT(whole, 1.0, 128, self.few)  # of whole + 128, as unsigned bytes
        else:
            assert self.codes is not None
            y = F.linear(whole, self.codes.codes.float()) * self.codes.scale
        y = y * scale if self.bias is None else torch.addcmul(self.bias, y, scale)
        return y.to(x.dtype).view(*x.shape[:-1], self.out_features)


class ManyBytes:
    """Codes as oneDNN keeps them."""

    def __init__(self, matrix: Int8) -> None:
        self.packed = torch.ops.onednn.qlinear_prepack(matrix.codes, [1, matrix.codes.shape[1]])
        self.scale, self.zero = matrix.scale, torch.zeros(len(matrix.scale), dtype=torch.int32)

    def __call__(self, whole: Tensor) -> Tensor:
        """(S, K) whole numbers from -127 to 127 -> (S, N), on the scale of each row of the matrix."""
        x, kind = whole.to(torch.int8), torch.float32
        return torch.ops.onednn.qlinear_pointwise(
            x, 1.0, 0, self.packed, self.scale, self.zero, None, 1.0, 0, kind, "none", [], ""
        )


class Int4Map(Map):
    """x in bfloat16 times `Int4` codes, summed up in float32."""

    def __init__(self, matrix: Int4, bias: Tensor | None, in_features: int) -> None:
        super().__init__(matrix.codes.shape[0], in_features, bias)
        self.more = matrix.codes.shape[1] - in_features
        fill = -self.out_features % ROWS
        codes = F.pad(matrix.codes.int(), (0, 0, 0, fill))
        scales = F.pad(torch.stack([matrix.scale.T, matrix.offset.T], 2), (0, 0, 0, fill))
        self.codes: Tensor = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
        self.scales = scales.contiguous()

    def forward(self, x: Tensor) -> Tensor:
        rows = F.pad(x.bfloat16().reshape(-1, self.in_features), (0, self.more))
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.codes, GROUP, self.scales)
        y = y[:, : self.out_features].float()
        y = y if self.bias is None else y + self.bias
        return y.to(x.dtype).view(*x.shape[:-1], self.out_features)


class MapHead(TokenHead):
    """A linear head whose table is a `Map`, or anything else that multiplies by it."""

    def __init__(self, head: LinearHead, map: nn.Module) -> None:
        super().__init__()
        self.size, self.scale, self.softcap, self.project, self.map = (
            head.size, head.scale, head.softcap, head.project, map,
        )  # fmt: skip

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden if self.project is None else self.project(hidden)
        logits = accurate(self.map(hidden if self.scale == 1.0 else hidden * self.scale))
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


def multiplies_bytes() -> bool:
    """Says whether torch has FBGEMM, whose kernels multiply bytes."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def multiplies_many_bytes() -> bool:
    """Says whether oneDNN multiplies bytes here, and the processor has instructions for it."""
    has = torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qlinear_pointwise")
    return has and torch.cpu._is_vnni_supported()  # pyright: ignore[reportPrivateUsage]


def pack_int8(matrix: Int8) -> object:
    """Returns codes as FBGEMM keeps them; the codes themselves are needed no more."""
    with warnings.catch_warnings(), engine("fbgemm"):
        warnings.filterwarnings("ignore", "torch.quantize_per", UserWarning)  # says so of all tensors of this kind
        zero = torch.zeros(len(matrix.codes), dtype=torch.int64)
        codes = per_channel(matrix.codes, matrix.scale.double(), zero, 0)
        return torch.ops.quantized.linear_prepack(codes, None)


@contextmanager
def engine(name: str) -> Generator[None]:
    """Packs matrices by this library inside."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before
