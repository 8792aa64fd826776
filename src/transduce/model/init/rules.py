"""Start values that the user writes down.

Tested in tests/model/test_init.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from torch import nn

from transduce.config import nearest
from transduce.errors import UserError
from transduce.model.init.fan import by_inputs
from transduce.model.init.init import (
    InitConfig,
    Initialiser,
    Rules,
    Sizes,
    XavierInit,
    constant,
    declared,
    normal,
    orthogonal,
    times,
    uniform,
    xavier,
)
from transduce.scalars import require_finite

NAMES: dict[str, Callable[[float], Initialiser]] = {
    "normal": normal,  # value: the standard deviation
    "uniform": uniform,  # the bound
    "constant": constant,
    "xavier": lambda gain: times(gain, xavier),
    "kaiming": lambda gain: times(gain, by_inputs(2**0.5)),
    "orthogonal": lambda gain: times(gain, orthogonal),
}


@dataclass(frozen=True, kw_only=True)
class RulesInit(InitConfig):
    """Your own: patterns of parameter names, the first that matches; what none matches starts as in `xavier`.

    What a part says of its own parameters (a forget bias, a gate) stands.

    patterns: a list of [pattern, name, value], such as ["*.q.weight", normal, 0.02]. Names and values: normal, its
        standard deviation; uniform, its bound; constant, itself; xavier, kaiming and orthogonal, a gain.
    """

    kind: ClassVar[str] = "rules"
    patterns: tuple[tuple[Any, ...], ...] = ()

    def __post_init__(self) -> None:
        for rule in self.patterns:
            if len(rule) != 3 or not isinstance(rule[0], str) or not isinstance(rule[2], int | float):
                raise UserError(
                    f"patterns has {list(rule)}; write [pattern, name, value], as in ['*.q.weight', normal, 0.02]"
                )
            require_finite(rule[2], f"patterns: {rule[0]}")
            if rule[1] not in NAMES:
                guess = nearest(str(rule[1]), list(NAMES))
                suffix = f"did you mean {guess}?" if guess else f"the names are {', '.join(NAMES)}"
                raise UserError(f"patterns has {list(rule)}, but there are no start values {rule[1]!r}; {suffix}")

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        return XavierInit().rules(sizes, encoder)

    def named(self, model: nn.Module) -> dict[str, Initialiser]:
        own = [(str(pattern), NAMES[name](float(value))) for pattern, name, value in self.patterns]
        matches = {
            name: next((start for pattern, start in own if fnmatchcase(name, pattern)), None)
            for name, _ in model.named_parameters()
        }
        return {name: start for name, start in matches.items() if start is not None}

    def apply(self, model: nn.Module, sizes: Sizes, seed: int) -> None:
        free = {name for name, _ in model.named_parameters()} - declared(model).keys()
        for pattern, *_ in self.patterns:
            if not any(fnmatchcase(name, pattern) for name in free):
                like = nearest(str(pattern), sorted(free)) or min(free)
                raise UserError(f"patterns has {pattern!r}, which matches no parameter; they have names like {like}")
        super().apply(model, sizes, seed)
