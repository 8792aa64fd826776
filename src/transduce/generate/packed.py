"""A copy of a model for reading only, on a CPU with its matrices laid out for oneDNN.

torch multiplies float32 matrices with MKL, which has no fast path for some processors that oneDNN serves well. The copy
shares all weights with the model and leaves it untouched: only the packed matrices are new memory.
"""

import copy
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from transduce.model.heads.linear import LinearHead
from transduce.model.models import Model
from transduce.precision.convert import exchange, matrices, trim
from transduce.precision.maps import MapHead
from transduce.precision.packed import WORTH, Packed

MOST = 1 << 30  # bytes of weights; a larger model is not packed, for the memory it would take
FEW = 1 << 27  # bytes of weights, of which two sets are kept: one row is multiplied faster by those not packed

Key = tuple[torch.dtype, tuple[tuple[int, int], ...]]
_copies: "WeakKeyDictionary[nn.Module, tuple[Key, nn.Module]]" = WeakKeyDictionary()


def reader(model: Model, dtype: torch.dtype = torch.float32) -> Model:
    """Returns the model in evaluation mode, with packed matrices where that is faster.

    The copy is kept until the weights of the model change.
    dtype: of the products of linear maps, where they can be packed; bfloat16 weights are a copy.
    """
    weights = list(model.parameters())
    if not packable(weights):
        return cast(Model, shallow(model, {}, None).eval())
    if any(p.is_inference() for p in weights):  # such tensors do not count their changes
        return cast(Model, shallow(model, {}, dtype, small(model)).eval())
    key = dtype, tuple((p.data_ptr(), p._version) for p in weights)
    if model not in _copies or _copies[model][0] != key:
        _copies[model] = key, shallow(model, {}, dtype, small(model)).eval()
    return cast(Model, _copies[model][1])


def give_up(model: Model) -> None:
    """Replaces matrices by packed ones, so that memory holds one set of weights. Such a model cannot be trained again.

    Matrices stay as they are where `reader` would not pack them, where a packed product of one row is not faster, and
    where all of them take little memory.
    """
    if not packable(list(model.parameters())) or small(model):
        return
    parts = matrices(model, WORTH)
    for name in list(parts):
        part = parts.pop(name)
        if isinstance(part, LinearHead) and not part.plain:
            continue
        packed = Packed(part.weight, cast("Tensor | None", part.bias), keep=False)
        exchange(model, part, MapHead(part, packed) if isinstance(part, LinearHead) else packed)
    trim()


def small(model: Model) -> bool:
    """Says whether a second set of the weights takes little memory."""
    return sum(p.numel() for p in model.parameters()) * 4 <= FEW


def packable(weights: list[nn.Parameter]) -> bool:
    """Says whether matrices can be packed: float32 on a CPU without autocast, at most `MOST` bytes, torch with oneDNN.

    The packed form is the one that torch's compiler emits, so an operator of that compiler must exist.
    """
    return (
        all(p.device.type == "cpu" and p.dtype == torch.float32 for p in weights)
        and sum(p.numel() for p in weights) * 4 <= MOST
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def shallow(
    module: nn.Module, done: dict[nn.Module, nn.Module], pack: torch.dtype | None, lone: bool = False
) -> nn.Module:
    """Returns a tree of new modules on the same tensors, with adapters computed into the weights.

    done: old module -> new module, so that shared modules stay shared.
    pack: the precision in which linear maps are packed; heads are packed in float32 alone (None: nothing is packed).
    lone: one row is multiplied by matrices that are not packed.
    """
    if module not in done:
        own = merged(module) if parametrize.is_parametrized(module) else module
        inside, hooked = vars(own)["_modules"], vars(own)["_forward_hooks"] or vars(own)["_forward_pre_hooks"]
        if pack is not None and type(own) is nn.Linear and not hooked:
            done[module] = Packed(own.weight, cast("Tensor | None", own.bias), pack, lone=lone)
        elif pack == torch.float32 and type(own) is LinearHead and own.plain and not hooked:
            done[module] = MapHead(own, Packed(own.weight, own.bias, lone=lone))
        else:
            done[module] = copy.copy(own)
            parts = {name: part if part is None else shallow(part, done, pack, lone) for name, part in inside.items()}
            vars(done[module])["_modules"] = parts
        bind(done[module])
    return done[module]


def bind(module: nn.Module) -> None:
    """Makes parts and weights attributes of their own, which Python finds at once: a small model spends a tenth of its
    time in `nn.Module.__getattr__`."""
    own = vars(module)
    for kind in ("_modules", "_parameters", "_buffers"):
        own.update({name: value for name, value in own[kind].items() if name not in own})


@torch.no_grad()
def merged(module: nn.Module) -> nn.Module:
    """Returns a module of the class that it had before it got adapters, with the weights that the adapters compute."""
    plain = nn.Module.__new__(cast("type[nn.Module]", parametrize.type_before_parametrizations(module)))
    names = list(cast("nn.ModuleDict", module.parametrizations))
    inside, own = vars(module)["_modules"], vars(module)["_parameters"]
    computed = {name: nn.Parameter(getattr(module, name), requires_grad=False) for name in names}
    vars(plain).update(vars(module))
    vars(plain)["_modules"] = {name: part for name, part in inside.items() if name != "parametrizations"}
    vars(plain)["_parameters"] = {**own, **computed}
    return plain
