"""The law of ranks: what a module's `tp_plan` shares out adds up to the whole, and what has none says why."""

from copy import deepcopy
from typing import TypeVar, cast

import torch
from torch import nn

from transduce.errors import UserError
from transduce.model.mixers.mixer import Mixer
from transduce.testing.runs import around, close, encodes_only, inputs, whole

M = TypeVar("M", bound=nn.Module)


def sharding(mixer: Mixer, width: int) -> None:
    """Checks that ranks, each with its share of the heads or features in `tp_plan`, add up to one rank's result.

    A mixer without a plan says why, in `no_plan`. A plan that no number of ranks can share out, because there is one
    head, is for one rank: see `ranks`.
    """
    if not mixer.tp_plan:
        assert mixer.no_plan, "sharding: a mixer without tp_plan says why, in no_plan"
        refusal = None
        try:
            shard(mixer, 0, 2)
        except UserError as error:
            refusal = str(error)
        assert refusal is not None, "sharding: a mixer without tp_plan was shared out"
        assert mixer.no_plan in refusal, f"sharding: the reason is {mixer.no_plan}, not {refusal}"
        return
    assert not mixer.no_plan, f"sharding: there is a tp_plan, and a reason why there is none: {mixer.no_plan}"
    run = around if encodes_only(mixer, width) else whole
    x, count = inputs(mixer, width), ranks(mixer)
    parts = [shard(mixer, rank, count) for rank in range(count)]
    with torch.no_grad():
        close(sum((run(part, x) for part in parts), torch.zeros(())), run(mixer, x), "sharding")


def planned(module: nn.Module) -> dict[str, tuple[nn.Linear, bool]]:
    """Returns the projections of `tp_plan`, and whether their columns are shared out (or else their rows)."""
    plan: dict[str, str] = module.tp_plan  # pyright: ignore[reportAssignmentType]
    return {name: (cast(nn.Linear, module.get_submodule(name)), split == "columns") for name, split in plan.items()}


def ranks(module: nn.Module) -> int:
    """The least number of ranks above one that the heads or features of `tp_plan` can be shared out over; 1: none can,
    since there is one head, or one key head that all queries ask. The first projection of a plan has all heads."""
    sizes = [linear.out_features if columns else linear.in_features for linear, columns in planned(module).values()]
    head_dim = cast(int, getattr(module, "head_dim", 1))
    heads = sizes[0] // head_dim
    groups = [size // head_dim for size in sizes if size % head_dim == 0 and size != heads]
    fewest = min([heads, *groups])
    return next((n for n in range(2, fewest + 1) if not any(count % n for count in (heads, fewest, *sizes))), 1)


def shard(module: M, rank: int, ranks: int) -> M:
    """Returns the part of a module that one of several ranks holds. Raises UserError where it has no plan."""
    if not module.tp_plan:
        raise UserError(f"{type(module).__name__} is not shared out over ranks: {getattr(module, 'no_plan', '')}")
    part = deepcopy(module)
    for linear, columns in planned(part).values():
        size = linear.out_features if columns else linear.in_features
        share = slice(rank * size // ranks, (rank + 1) * size // ranks)
        linear.weight = nn.Parameter((linear.weight[share] if columns else linear.weight[:, share]).detach())
        if linear.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            bias = linear.bias.detach()
            linear.bias = nn.Parameter(bias[share] if columns else bias * (rank == 0))
    return part
