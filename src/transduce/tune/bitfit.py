"""Biases alone move.

Tested in tests/tune/test_adapters.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from transduce.errors import UserError
from transduce.model.models import Model
from transduce.model.roles import roles
from transduce.tune.adapters import whole_heads
from transduce.tune.tuning import TuneConfig


@dataclass(frozen=True, kw_only=True)
class BitFit(TuneConfig):
    """Biases and the shifts of norms move, and heads that predict no tokens.   Zaken et al. 2022, arXiv:2106.10199."""

    kind: ClassVar[str] = "bitfit"

    def labels(self, model: Model) -> dict[Tensor, str]:
        known = roles(model)
        biases = {id(p) for name, p in model.named_parameters() if known[name] in ("bias", "shift")}
        if not biases:
            raise UserError("tune=bitfit trains biases, but this model has none; use tune=lora or tune=full")
        own = biases | whole_heads(model)
        return {p: "bias" if id(p) in own else "base" for p in model.parameters()}

    def factor(self, label: str, step: int) -> float:
        return float(self.moves(label))

    def moves(self, label: str) -> bool:
        return label == "bias"
