"""The size of a model: parameters per part, floating-point operations, and bytes, counted on the model itself."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils import flop_counter

from transduce.model.block import Block, Sublayer
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.model.state import State, nbytes
from transduce.model.sublayers import Cross, Feed

NAMES: dict[type[Sublayer], str] = {Cross: "cross attention", Feed: "feed-forward"}


def parameters(model: Model) -> dict[str, int]:
    """Returns the parameters of each part, in the order of the model.

    Parameters that parts share are counted once, under the names of all these parts.
    """
    owners: dict[nn.Parameter, dict[str, None]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(parameter, {})[part_of(model, name)] = None
    counts: dict[str, int] = {}
    for parameter, parts in owners.items():
        part = " = ".join(parts)
        counts[part] = counts.get(part, 0) + parameter.numel()
    return counts


def part_of(model: nn.Module, name: str) -> str:
    """Returns the part that a parameter belongs to: the sublayer, embedding or head around it, of which tower."""
    if name.startswith("heads."):
        return ".".join(name.split(".")[:2])
    side = f"{name.split('.')[0]} " if name.split(".")[0] in ("encoder", "decoder") else ""
    module = model
    for step in name.split(".")[:-1]:
        if isinstance(module, Block):
            return side + owners(module).get(step, "norms")
        module = module.get_submodule(step)
        if isinstance(module, Embedding):
            return f"{side}embedding"
        if isinstance(module, Head):
            return "head"
    return f"{side}norms"


def owners(block: Block) -> dict[str, str]:
    """Returns the part that each child of a block counts as, but for residuals and norms."""
    alone = [part for part in block.every() if not part.inner]
    return {name: NAMES.get(type(part), "mixers") for part in alone for name in part.names}


def flops(work: Callable[[], object]) -> int:
    """Counts the floating-point operations of the matrix products in `work()`; a multiply-add is two.

    They are counted as they run: padding and the masked half of causal attention count, element-wise work does not.
    """
    with flop_counter.FlopCounterMode(display=False, custom_mapping=_CPU_KERNELS) as counter:
        work()
    return counter.get_total_flops()


def _attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return int(flop_counter.sdpa_flop_count(q, k, v))


def _attention_backward(grad: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    return int(flop_counter.sdpa_backward_flop_count(grad, q, k, v))


def _lstm(x: Any, w: Any, u: Any, *_: Any, **__: Any) -> int:
    """x: (T, B, I), w: (4 S, I), u: (4 S, S), as shapes."""
    return 2 * x[0] * x[1] * (math.prod(w) + math.prod(u))


def _lstm_backward(*shapes: Any, **__: Any) -> int:
    return 2 * _lstm(*shapes)


_CPU_KERNELS: dict[Any, Any] = {  # the kernels PyTorch has no formula for
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten.mkldnn_rnn_layer: _lstm,
    torch.ops.aten.mkldnn_rnn_layer_backward: _lstm_backward,
}


def saved_bytes(model: nn.Module, work: Callable[[], object]) -> int:
    """Returns the bytes of activations that `work()` stores for its backward pass, each storage once."""
    seen = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    alive: list[Tensor] = []  # so that no address is used twice
    total = 0

    def pack(x: Tensor) -> Tensor:
        nonlocal total
        storage = x.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            alive.append(x.detach())
            total += storage.nbytes()
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        work()
    return total


class StateBytes(NamedTuple):
    """Memory of one row while decoding."""

    fixed: int  # for a row of any length
    per_token: int  # for each token written
    per_source_token: int  # for each token of the source


def state_bytes(model: Model) -> StateBytes:
    """Returns the bytes of the state of one row in decoding.

    They are the differences of states for 16 and 32 tokens, since caches have room for multiples of 16, and of sources
    of 8 and 9 tokens.
    """
    if not model.writes:
        return StateBytes(0, 0, 0)
    short, long = (nbytes(model.init_state(1, n)) for n in (16, 32))
    per_token = (long - short) // 16
    few, many = (nbytes(remembered(model, n)) for n in (8, 9))
    return StateBytes(short - 16 * per_token, per_token, many - few)


@torch.no_grad()
def remembered(model: Model, tokens: int) -> State:
    """Returns the memory that a model has of a source of so many tokens."""
    ids, layout = torch.zeros((1, tokens), dtype=torch.int64), dense(1, tokens)
    batch = model.given(ids, layout, ids, layout).to(model.device)
    return model.remember(batch.source, batch.source_layout)
