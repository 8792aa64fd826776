"""Start values as ordered rules on parameter names: the first rule whose pattern matches decides."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.config import Part

Rule = tuple[str, Callable[[Tensor, torch.Generator], object]]


def normal(std: float) -> Callable[[Tensor, torch.Generator], object]:
    return lambda w, g: nn.init.normal_(w, std=std, generator=g)


def xavier(w: Tensor, g: torch.Generator) -> None:
    """U(-a, a) with a = sqrt(6 / (in + out)).   Glorot & Bengio 2010."""
    nn.init.xavier_uniform_(w, generator=g)


def constant(value: float) -> Callable[[Tensor, torch.Generator], object]:
    return lambda w, g: nn.init.constant_(w, value)


@dataclass(frozen=True, kw_only=True)
class InitConfig(Part):
    """Which start values. `rules(width, layers)`: (pattern, initialiser), tried in order on every parameter name."""

    folder: ClassVar[str] = "transduce.model.init"

    def rules(self, width: int, layers: int) -> list[Rule]:
        raise AssertionError("a kind of InitConfig defines rules")

    def apply(self, model: nn.Module, width: int, layers: int, seed: int) -> None:
        """Give every parameter its start value, drawn from a generator of its own."""
        generator = torch.Generator().manual_seed(seed)
        rules = self.rules(width, layers)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                initialise = next((f for pattern, f in rules if fnmatchcase(name, pattern)), None)
                assert initialise is not None, f"no rule gives {name} a start value"
                initialise(parameter, generator)


COMMON: list[Rule] = [("*norm.weight", constant(1.0)), ("*leave.weight", constant(1.0)), ("*bias", constant(0.0))]


@dataclass(frozen=True, kw_only=True)
class XavierInit(InitConfig):
    """Matrices Xavier uniform, tables normal with standard deviation width^-1/2: what the original's code did."""

    kind: ClassVar[str] = "xavier"

    def rules(self, width: int, layers: int) -> list[Rule]:
        table = normal(width**-0.5)
        return [*COMMON, ("*embed*.weight", table), ("*head.weight", table), ("*", xavier)]


@dataclass(frozen=True, kw_only=True)
class NormalInit(InitConfig):
    """All normal(std); matrices that write to the stream divided by sqrt(2 layers).   Radford et al. 2019, sec. 2.3."""

    kind: ClassVar[str] = "normal"
    std: float = 0.02

    def rules(self, width: int, layers: int) -> list[Rule]:
        last = normal(self.std / math.sqrt(2 * layers))
        return [*COMMON, ("*.out.weight", last), ("*.down.weight", last), ("*", normal(self.std))]
