"""The head that predicts numbers of a row.

Tested in tests/model/test_heads.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from transduce.errors import require_at_least, require_probability
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig
from transduce.model.heads.pooled import RowHead, RowHeadConfig
from transduce.model.norms.norm import NormConfig


@dataclass(frozen=True, kw_only=True)
class NumbersHeadConfig(RowHeadConfig):
    """Numbers of a row: W x + b of its pooled vector x, or of act(A x + a). Regression.

    size: how many numbers.
    dropout: of what the output reads.
    """

    kind: ClassVar[str] = "numbers"
    dropout: float = 0.0
    size: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_probability(dropout=self.dropout)
        require_at_least(1, size=self.size)

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        return RowHead(self, width, self.size, self.dropout)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(), cls(size=4, pool=("last", "mean"), hidden=5, activation="gelu", dropout=0.3)]
