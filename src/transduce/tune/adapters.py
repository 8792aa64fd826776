"""Which weights of a model get an adapter, and adapters put on them, as a `parametrize` that every kernel obeys."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from transduce.errors import UserError, require_at_least
from transduce.model.block import Block
from transduce.model.heads.head import TokenHead
from transduce.model.models import Model
from transduce.tune.tuning import TuneConfig

USUAL = ("q", "v")  # the maps that Hu et al. 2021, sec. 7.1, found best at equal size, with every mixer that has them


@dataclass(frozen=True, kw_only=True)
class AdapterConfig(TuneConfig, ABC):
    """Linear maps keep their values and get an adapter of low rank each; a head that predicts no tokens moves whole.

    rank: r of B (out x r) and A (r x in).
    alpha: B A is multiplied by alpha / rank (None: by 1, alpha = rank).
    targets: patterns of the names of linear maps, such as `*.mix.q` or `*.feed.*` (None: the queries and values of all
        mixers, or all maps of the mixers where no mixer has such).
    """

    rank: int = 8
    alpha: float | None = None
    targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        require_at_least(1, rank=self.rank)
        if self.alpha is not None and not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha={self.alpha} must be a positive number, such as rank={self.rank}")
        if self.targets is not None and not self.targets:
            raise ValueError("targets=[] adapts nothing; leave it out for the queries and values of all mixers")

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None else self.alpha / self.rank

    @abstractmethod
    def adapter(self, weight: Tensor, generator: torch.Generator) -> nn.Module:
        """Returns the adapter of a weight (out, in): a module that maps it to the weight that is used."""

    def adapt(self, model: Model, generator: torch.Generator) -> list[str]:
        maps = chosen(model, self.targets)
        for linear in maps.values():
            put(linear, self.adapter(linear.weight, generator))
        names = list(maps)
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return [f"{self.kind} of rank {self.rank} on {len(names)} linear map{'s' * (len(names) > 1)}: {shown}"]

    def labels(self, model: Model) -> dict[Tensor, str]:
        own = {id(p) for adapter in adapters(model) for p in adapter.parameters()} | whole_heads(model)
        return {p: "adapter" if id(p) in own else "base" for p in model.parameters()}

    def factor(self, label: str, step: int) -> float:
        return float(self.moves(label))

    def moves(self, label: str) -> bool:
        return label == "adapter"


class Products(Protocol):
    """An adapter that computes x W^T + bias itself, for W that it gives, where the weight beneath does not move."""

    def product(self, x: Tensor, W: Tensor, bias: Tensor | None) -> Tensor: ...


def put(linear: nn.Linear, adapter: nn.Module) -> None:
    """Puts an adapter on the weight of a linear map. If it has a `product`, a plain map computes by that."""
    parametrize.register_parametrization(linear, "weight", adapter)
    if hasattr(adapter, "product") and type(linear).forward is nn.Linear.forward:
        setattr(type(linear), "forward", through_adapter)  # noqa: B010  # of a class that `parametrize` makes for this module alone


def through_adapter(self: nn.Linear, x: Tensor) -> Tensor:
    """The forward of a linear map whose weight has an adapter."""
    parts = cast("parametrize.ParametrizationList", cast("nn.ModuleDict", self.parametrizations)["weight"])
    if torch.is_grad_enabled() and not parts.original.requires_grad:
        return cast("Products", parts[0]).product(x, self.weight, self.bias)
    return F.linear(x, self.weight, self.bias)


def whole_heads(model: Model) -> set[int]:
    """Returns the ids of the parameters of heads that predict something else than tokens: these are new with a task."""
    heads = [head for head in (model.head, *model.heads.values()) if head is not None]
    return {id(p) for head in heads if not isinstance(head, TokenHead) for p in head.parameters()}


def adapters(model: nn.Module) -> Iterator[nn.Module]:
    """Yields the adapters on the weights of a model."""
    for module in model.modules():
        if isinstance(module, parametrize.ParametrizationList):
            yield from module


def linear_maps(model: Model) -> dict[str, nn.Linear]:
    """Returns the linear maps of the blocks of a model by name, each weight once: inside mixers and feed-forwards."""
    maps, seen = dict[str, nn.Linear](), set[int]()
    blocks = {id(block) for stack in model.stacks() for block in stack.blocks}
    for at, block in cast("Iterator[tuple[str, nn.Module]]", model.named_modules()):
        if id(block) not in blocks:
            continue
        assert isinstance(block, Block)
        for name, part in cast("Iterator[tuple[str, nn.Module]]", block.named_modules()):
            if isinstance(part, nn.Linear) and part.weight.ndim == 2 and id(part.weight) not in seen:
                seen.add(id(part.weight))
                maps[f"{at}.{name}"] = part
    return maps


def chosen(model: Model, targets: Sequence[str] | None) -> dict[str, nn.Linear]:
    """Returns the linear maps that get an adapter.

    Raises UserError, with the nearest names, where a pattern fits none.
    """
    maps = linear_maps(model)
    if targets is None:
        mixers = {n: x for n, x in maps.items() if not fnmatchcase(n, "*.feed*")}
        usual = {n: x for n, x in mixers.items() if n.rpartition(".")[2] in USUAL}
        if not maps:
            raise UserError("the blocks of this model have no linear maps to adapt; use tune=full")
        return usual or mixers or maps
    adapted = dict[str, nn.Linear]()
    for pattern in targets:
        matches = {name: x for name, x in maps.items() if fnmatchcase(name, pattern) or name.endswith(f".{pattern}")}
        if not matches:
            ends = sorted({".".join(name.split(".")[-2:]) for name in maps})
            near = get_close_matches(pattern.rpartition("*.")[2], ends, 3, 0.3) or ends[:6]
            raise UserError(f"tune.targets: `{pattern}` is the name of no linear map; there are {', '.join(near)}")
        adapted |= matches
    return adapted
