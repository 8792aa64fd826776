"""The head that gives one vector of a row.

Tested in tests/model/test_heads.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig
from transduce.model.heads.pooled import RowHead, RowHeadConfig
from transduce.model.norms.norm import NormConfig


@dataclass(frozen=True, kw_only=True)
class VectorHeadConfig(RowHeadConfig):
    """The pooled vector x of a row, or act(A x + a) of it.

    With pool=first and hidden=true it is the pooler of BERT, tanh(A h_0 + a) (Devlin et al. 2018, arXiv:1810.04805).
    """

    kind: ClassVar[str] = "vector"

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        return RowHead(self, width)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(pool=("first",), hidden=True), cls(pool=("max", "last")), cls(pool_dropout=0.1)]
