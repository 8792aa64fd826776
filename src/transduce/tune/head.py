"""The head alone moves.

Tested in tests/tune/test_tuning.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from transduce.errors import UserError
from transduce.model.models import Model
from transduce.tune.tuning import TuneConfig


@dataclass(frozen=True, kw_only=True)
class HeadOnly(TuneConfig):
    """The heads move, and the table that one shares with the embedding; all else keeps the values it starts with."""

    kind: ClassVar[str] = "head"

    def labels(self, model: Model) -> dict[Tensor, str]:
        heads = [head for head in (model.head, *model.heads.values()) if head is not None]
        own = {id(p) for head in heads for p in head.parameters()}
        if not own:
            raise UserError("tune=head trains the head, but this model has none; set model.head, or tune=full")
        return {p: "head" if id(p) in own else "body" for p in model.parameters()}

    def factor(self, label: str, step: int) -> float:
        return float(self.moves(label))

    def moves(self, label: str) -> bool:
        return label == "head"
