"""The contract of ways to tune: what moves, with which factor of the rate, from which step on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from transduce.config import Part
from transduce.model.models import Model


@dataclass(frozen=True, kw_only=True)
class TuneConfig(Part):
    """A way to tune. Parameters of one label move together."""

    folder: ClassVar[str] = "transduce.tune"
    not_merged: ClassVar[bool] = False  # its weights stand beside those of the model, and `merge` leaves them there

    def require_objective(self, kind: str) -> None:
        """Raises UserError where an objective of that kind means nothing to this way to tune; to most, any does."""

    def adapt(self, model: Model, generator: torch.Generator) -> list[str]:
        """Puts adapters on the weights of a model; none by default. Returns the sentences that say which.

        generator: draws their start values. Raises UserError where there is nothing to adapt.
        """
        return []

    def labels(self, model: Model) -> dict[Tensor, str]:
        """Returns the label of each parameter. Raises UserError where a model has nothing to tune so."""
        return dict.fromkeys(model.parameters(), "")

    def factor(self, label: str, step: int) -> float:
        """Returns the factor on the rate of a label in update number `step`, from 1; 0: it does not move."""
        return 1.0

    def moves(self, label: str) -> bool:
        """Says whether the parameters of a label move in any update; what never moves is saved once."""
        return True


def require_objective(tune: TuneConfig, kind: str) -> None:
    """Raises UserError where `TuneConfig.require_objective` does."""
    tune.require_objective(kind)


def merge(model: nn.Module) -> None:
    """Puts what the adapters of a model compute in the place of its weights, bit for bit, for reading."""
    for module in model.modules():
        if parametrize.is_parametrized(module):
            for name in list(cast("Iterator[str]", module.parametrizations)):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


class Tuning:
    """A way to tune at work: before every update, `arrange` says what moves in it."""

    def __init__(self, config: TuneConfig, model: Model, optimizers: Sequence[Optimizer]) -> None:
        """Splits the groups of the optimisers by label; with one label they stay as they are."""
        self.config, self.model, self.optimizers = config, model, optimizers
        self.labels = config.labels(model)
        if len(set(self.labels.values())) > 1:
            for optimizer in optimizers:
                optimizer.param_groups[:] = [part for group in optimizer.param_groups for part in self.parts(group)]

    def parts(self, group: dict[str, list[Tensor]]) -> list[dict[str, object]]:
        """Returns a group of parameters as several, one for each label."""
        names = dict.fromkeys(self.labels[p] for p in group["params"])
        return [
            {**group, "params": [p for p in group["params"] if self.labels[p] == name], "label": name} for name in names
        ]

    @property
    def fixed(self) -> set[Tensor]:
        """The parameters that never move."""
        return {parameter for parameter, label in self.labels.items() if not self.config.moves(label)}

    def arrange(self, step: int) -> list[nn.Parameter]:
        """Sets the factors of the rates of update number `step`, and returns the parameters that move in it."""
        factors = {label: self.config.factor(label, step) for label in set(self.labels.values())}
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["factor"] = factors[group.get("label", "")] if len(factors) > 1 else next(iter(factors.values()))
        for parameter, label in self.labels.items():
            parameter.requires_grad_(factors[label] > 0)
        return [p for p in self.model.parameters() if p.requires_grad]
