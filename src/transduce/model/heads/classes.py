"""The head that tells which class a row is of.

Tested in tests/model/test_row_heads.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from transduce.errors import UserError, require_at_least, require_probability
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig
from transduce.model.heads.pooled import RowHead, RowHeadConfig
from transduce.model.norms.norm import NormConfig


@dataclass(frozen=True, kw_only=True)
class ClassesHeadConfig(RowHeadConfig):
    """A logit of each class of a row: W x + b of its pooled vector x, or of act(A x + a).

    With pool=first, hidden=true and activation=tanh it is the classifier of BERT (Devlin et al. 2018,
    arXiv:1810.04805, sec. 3.5); with pool=last and bias=false that of GPT-2 and Llama in transformers.
    classes: how many there are; None: as many as the labels of the data.
    dropout: of what the output reads.
    """

    kind: ClassVar[str] = "classes"
    dropout: float = 0.0
    classes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_probability(dropout=self.dropout)
        require_at_least(1, classes=self.classes)

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        if self.classes is None:
            raise UserError("head=classes does not know how many classes there are; set its key `classes`")
        return RowHead(self, width, self.classes, self.dropout)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [
            cls(classes=2, pool=("first",), hidden=True),  # BERT
            cls(classes=3, pool=("last",), bias=False),  # GPT-2
            cls(classes=5, pool=("last", "max", "mean"), hidden=7, activation="relu", pool_dropout=0.2, dropout=0.1),
            cls(classes=1, pool=("weighted", "mean-sqrt")),
        ]
