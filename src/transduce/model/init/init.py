"""The contract of start values: what a part must start from, then what a scheme gives to each role.

A module may have `start()`: its own parameters that no scheme decides (gates, decays, forget biases), by name. Every
other parameter is given its value by its role (`model.roles`). A module may then change what the scheme gave, in
`adjust_start()`: a forget bias is added to what biases start from.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from transduce.config import Part
from transduce.errors import UserError
from transduce.model.roles import Role, roles

Initialiser = Callable[[Tensor, torch.Generator], object]
Rules = Mapping[Role, Initialiser]
AS: dict[Role, Role] = {  # what a scheme does not tell apart starts like this one
    "writes": "adds", "adds": "matrix", "recurrent": "matrix", "score": "matrix", "lookup": "matrix",
    "places": "table", "widen": "table", "table": "matrix", "head": "matrix",
}  # fmt: skip


class Sizes(NamedTuple):
    """The sizes that schemes depend on. A stack that the model does not have has 0 layers."""

    width: int
    encoder_layers: int
    decoder_layers: int
    scale: float = 1.0  # by which vectors of tokens are multiplied, before those of positions are added

    @property
    def layers(self) -> int:
        """Returns the layers of the deeper stack."""
        return max(self.encoder_layers, self.decoder_layers)


def normal(std: float) -> Initialiser:
    return lambda w, g: nn.init.normal_(w, std=std, generator=g)


def uniform(bound: float) -> Initialiser:
    return lambda w, g: nn.init.uniform_(w, -bound, bound, generator=g)


def constant(value: float) -> Initialiser:
    return lambda w, g: nn.init.constant_(w, value)


def times(gain: float, initialiser: Initialiser) -> Initialiser:
    """Returns an initialiser that gives the values of another one, times a gain."""

    def scaled(w: Tensor, g: torch.Generator) -> None:
        initialiser(w, g)
        w.mul_(gain)

    return scaled


def values(tensor: Callable[[tuple[int, ...], torch.Generator], Tensor]) -> Initialiser:
    """Returns an initialiser that gives what a function of the shape and a generator gives."""
    return lambda w, g: w.copy_(tensor(tuple(w.shape), g).to(w.dtype))


def xavier(w: Tensor, g: torch.Generator) -> None:
    """U(-a, a) with a = sqrt(6 / (in + out)).   Glorot & Bengio 2010."""
    nn.init.xavier_uniform_(w, generator=g)


def orthogonal(w: Tensor, g: torch.Generator) -> None:
    """Makes every square block of a (n H, H) matrix orthogonal.   Saxe et al. 2014, arXiv:1312.6120."""
    size = w.shape[1] if w.shape[0] % w.shape[1] == 0 else w.shape[0]
    for start in range(0, w.shape[0], size):
        nn.init.orthogonal_(w[start : start + size], generator=g)


def declared(model: nn.Module) -> dict[str, Initialiser]:
    """Returns the start values that the parts of a model declare for their own parameters, by full name."""
    own = dict[str, Initialiser]()
    for name, module in cast(Iterable[tuple[str, nn.Module]], model.named_modules()):
        start: Callable[[], dict[str, Any]] | None = getattr(module, "start", None)
        prefix = f"{name}." if name else ""
        own |= {} if start is None else {f"{prefix}{key}": f for key, f in start().items()}
    return own


@dataclass(frozen=True, kw_only=True)
class InitConfig(Part):
    """The choice of start values.

    A role that is not there starts like the one of `AS`. `named(model)`: initialisers that depend on what stands around
    a parameter, by its full name; they come first.
    """

    folder: ClassVar[str] = "transduce.model.init"

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        raise AssertionError("a kind of InitConfig defines rules")

    def named(self, model: nn.Module) -> dict[str, Initialiser]:
        return {}

    def apply(self, model: nn.Module, sizes: Sizes, seed: int) -> None:
        """Gives every parameter its start value, drawn from a generator of its own."""
        generator = torch.Generator().manual_seed(seed)
        above, below = (self.rules(sizes, encoder) for encoder in (True, False))
        own, role_of = {**self.named(model), **declared(model)}, roles(model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                rules = above if sizes.encoder_layers and name.startswith("encoder.") else below
                (own.get(name) or by_role(rules, role_of[name], model, name))(parameter, generator)
            for module in model.modules():
                adjust: Callable[[], None] | None = getattr(module, "adjust_start", None)
                if adjust is not None:
                    adjust()


def by_role(rules: Rules, role: Role, model: nn.Module, name: str) -> Initialiser:
    """Returns what a scheme gives to a role. Raises UserError where the module of that parameter had to say it."""
    while role not in rules and role in AS:
        role = AS[role]
    if role not in rules:
        *path, last = name.split(".")
        part = type(model.get_submodule(".".join(path))).__name__
        raise UserError(
            f"`{last}` of {part} is not a matrix, and no scheme knows what it starts from; declare it in start(), as "
            f"docs/adding-a-mixer.md shows"
        )
    return rules[role]


# Norms start as the identity, biases at zero, matrices from a recurrent state to itself orthogonal.
NORMS: Rules = {"gain": constant(1.0), "shift": constant(0.0), "bias": constant(0.0)}
COMMON: Rules = {**NORMS, "recurrent": orthogonal}


def tables(std: float) -> Rules:
    """Returns the rules of embeddings, and of a head of its own."""
    return {"table": normal(std), "head": normal(std)}


@dataclass(frozen=True, kw_only=True)
class XavierInit(InitConfig):
    """Matrices U(-a, a), a = sqrt(6 / (in + out)), tables N(0, 1 / width).   Glorot & Bengio 2010, eq. 16.

    Learned positions start as large as what they are added to, the vectors of tokens times their scale.
    """

    kind: ClassVar[str] = "xavier"

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        std = sizes.width**-0.5
        return {**COMMON, **tables(std), "places": normal(sizes.scale * std), "matrix": xavier}


@dataclass(frozen=True, kw_only=True)
class NormalInit(InitConfig):
    """All normal(std); matrices that write to the stream divided by sqrt(2 layers).   Radford et al. 2019, sec. 2.3.

    std: standard deviation of all values, before that division.
    """

    kind: ClassVar[str] = "normal"
    std: float = 0.02

    def __post_init__(self) -> None:
        if not 0.0 <= self.std < math.inf:
            raise UserError(f"std={self.std} must be a number that is not negative, such as 0.02")

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        last = normal(self.std / math.sqrt(2 * sizes.layers))
        return {**COMMON, "writes": last, "matrix": normal(self.std)}
