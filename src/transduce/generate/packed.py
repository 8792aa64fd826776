"""A copy of a model for reading only, on a CPU with its matrices laid out for oneDNN.

torch multiplies float32 matrices with MKL, which has no fast path for some processors that oneDNN serves well. The copy
shares all weights with the model and leaves it untouched: only the packed matrices are new memory.
"""

import copy
from typing import cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.model.heads.linear import LinearHead
from transduce.model.models import Model

MOST = 1 << 30  # bytes of weights; a larger model is not packed, for the memory it would take
WORTH = 1 << 19  # multiplications; for fewer, calling oneDNN takes longer than MKL does

Key = tuple[tuple[int, int], ...]
_copies: "WeakKeyDictionary[nn.Module, tuple[Key, nn.Module]]" = WeakKeyDictionary()


class Packed(nn.Module):
    """x W^T + b, for x of float32 on a CPU."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = frozen(weight), None if bias is None else frozen(bias)
        self.packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous())
        self.out_features, self.in_features = weight.shape

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() * self.out_features < WORTH:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")


def frozen(weight: Tensor) -> nn.Parameter:
    """The same memory, out of the reach of gradients."""
    return nn.Parameter(weight.detach(), requires_grad=False)


def reader(model: Model) -> Model:
    """The model in evaluation mode, as fast as it gets where it is; made anew when its weights have changed."""
    weights = list(model.parameters())
    if not packable(weights):
        return cast(Model, shallow(model, {}, pack=False).eval())
    if any(p.is_inference() for p in weights):  # such tensors do not count their changes
        return cast(Model, shallow(model, {}, pack=True).eval())
    key = tuple((p.data_ptr(), p._version) for p in weights)
    if model not in _copies or _copies[model][0] != key:
        _copies[model] = key, shallow(model, {}, pack=True).eval()
    return cast(Model, _copies[model][1])


def packable(weights: list[nn.Parameter]) -> bool:
    """Whether all is float32 on a CPU, and to stay so, not too large, and this torch has what its compiler emits."""
    return (
        all(p.device.type == "cpu" and p.dtype == torch.float32 for p in weights)
        and sum(p.numel() for p in weights) * 4 <= MOST
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def shallow(module: nn.Module, done: dict[nn.Module, nn.Module], pack: bool) -> nn.Module:
    """A tree of new modules on the same tensors. done: old module -> new, so that shared modules stay shared."""
    if module not in done:
        inside, hooked = vars(module)["_modules"], vars(module)["_forward_hooks"] or vars(module)["_forward_pre_hooks"]
        plain = type(module) is nn.Linear or (type(module) is LinearHead and module.plain)
        if pack and plain and not hooked:
            done[module] = Packed(cast(Tensor, module.weight), cast("Tensor | None", getattr(module, "bias", None)))
        else:
            done[module] = copy.copy(module)
            parts = {name: part if part is None else shallow(part, done, pack) for name, part in inside.items()}
            vars(done[module])["_modules"] = parts
    return done[module]
