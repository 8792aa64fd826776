"""The head that tells what a token and all that follows it are worth.

Tested in tests/model/test_heads.py.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig, accurate
from transduce.model.init.init import constant
from transduce.model.norms.norm import NormConfig


class ValueHead(Head):
    """See `ValueHeadConfig`. (..., M) -> (..., 1)."""

    size = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.output = nn.Linear(width, 1)

    def start(self) -> dict[str, Any]:
        return {"output.weight": constant(0.0)}

    def forward(self, hidden: Tensor) -> Tensor:
        return accurate(self.output(hidden.to(self.output.weight.dtype)))


@dataclass(frozen=True, kw_only=True)
class ValueHeadConfig(HeadConfig):
    """The reward that is expected from each place of a text on: w h + b, which starts at 0.   Schulman et al. 2016."""

    kind: ClassVar[str] = "value"
    helps: ClassVar[bool] = True

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        return ValueHead(width)
