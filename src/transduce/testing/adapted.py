"""The law of adapters: one on a weight is obeyed by every kernel, and learns."""

from collections.abc import Iterator
from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn

from transduce.model import layout as geometry
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer
from transduce.testing.runs import Run, T, close, close_gradients, feed, inputs, outcome
from transduce.tune.adapters import put
from transduce.tune.lora import LowRank

RANK = 2


def low_rank(weight: Tensor, generator: torch.Generator) -> LowRank:
    """Returns an adapter whose B is not 0."""
    adapter = LowRank(weight, RANK, 1.5, generator)
    for part in (adapter.A, adapter.B):
        part.data = 0.3 * torch.randn(part.shape, generator=generator).to(weight)
    return adapter


def adapted(mixer: Mixer, width: int) -> None:
    """With an adapter on every linear map, a mixer computes what it does with the merged weights, in every role, and
    the gradients of A and B are those that follow from the gradient of the merged weight: s B^T dW and s dW A^T."""
    ours, merged, generator = deepcopy(mixer), deepcopy(mixer), torch.Generator().manual_seed(4)
    adapters = dict[str, LowRank]()
    for name, linear in linears(mixer):
        adapters[name], own = low_rank(linear.weight, generator), cast(nn.Linear, ours.get_submodule(name))
        own.weight.requires_grad_(False)
        put(own, adapters[name])
        with torch.no_grad():
            weight = cast(Tensor, merged.get_submodule(name).weight)
            weight += 1.5 * adapters[name].B @ adapters[name].A
    x = inputs(mixer, width)
    for role, run in runs(mixer):
        (_, y), (_, dx), *_ = outcome(ours, x, run)
        (_, z), (_, dz), *others = outcome(merged, x, run)
        close(y, z, f"adapted, {role}, output")
        close_gradients(dx, dz, f"adapted, {role}, gradient of the input")
        whole = dict(others)
        for name, adapter in adapters.items():
            W = whole[f"gradient of {name}.weight"]
            for part, expected in (("A", 1.5 * adapter.B.detach().mT @ W), ("B", 1.5 * W @ adapter.A.detach().mT)):
                what, grad = f"adapted, {role}, gradient of {part} of {name}", getattr(adapter, part).grad
                assert grad is not None or not W.any(), f"{what}: there is none"
                close_gradients(torch.zeros_like(expected) if grad is None else grad, expected, what)


def linears(module: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Yields the linear maps of a module by name, each once."""
    for name, part in cast("Iterator[tuple[str, nn.Module]]", module.named_modules()):
        if isinstance(part, nn.Linear) and part.weight.ndim == 2:
            yield name, part


def runs(mixer: Mixer) -> Iterator[tuple[str, Run]]:
    """Yields a run in every role that a mixer has: dense, as fused kernels take it, padded, packed, and by steps."""
    lengths = torch.tensor([9, T])
    layouts = {
        "dense": geometry.dense(2, T), "padded": geometry.right_padded(lengths, T),
        "packed": geometry.packed([[5, 8], [T]], T),
    }  # fmt: skip

    def valid(grid: Layout, y: Tensor) -> Tensor:
        return y[grid.valid]

    for what, grid in layouts.items():
        if "forward" not in mixer.cannot:
            yield f"forward, {what}", lambda m, x, g=grid: valid(g, m(x, g)[0])
            yield f"step by step, {what}", lambda m, x, g=grid: valid(g, feed(m, x, g, [1] * T)[0])
        if "encode" not in mixer.cannot:
            yield f"encode, {what}", lambda m, x, g=grid: valid(g, m.encode(x, g))
        if not {"read", "write"} & mixer.cannot.keys() and what != "packed":
            yield f"read, {what}", lambda m, x, g=grid: valid(g, m.read(x, g, m.write(x, g)))
