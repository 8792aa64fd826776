"""The head that says at every step a label, or nothing.

Tested in tests/model/test_heads.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.errors import UserError, require_at_least, require_probability
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig, accurate
from transduce.model.norms.norm import NormConfig
from transduce.model.ops.dropout import dropout


class CtcHead(Head):
    """See `CtcHeadConfig`. blank: the number of what says nothing, behind those of all labels."""

    def __init__(self, width: int, labels: int, p: float) -> None:
        super().__init__()
        self.output, self.size, self.blank, self.p = nn.Linear(width, labels + 1), labels + 1, labels, p

    def forward(self, hidden: Tensor) -> Tensor:
        return accurate(self.output(dropout(hidden, self.p, self.training).to(self.output.weight.dtype)))


@dataclass(frozen=True, kw_only=True)
class CtcHeadConfig(HeadConfig):
    """A logit of each label and of blank, at every step: W h + b.   Graves et al. 2006, sec. 2.

    labels: how many there are; None: as many as the tokeniser has tokens.
    dropout: of what the output reads.
    """

    kind: ClassVar[str] = "ctc"
    labels: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_probability(dropout=self.dropout)
        require_at_least(1, labels=self.labels)

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        if self.labels is None:
            raise UserError("head=ctc does not know how many labels there are; set its key `labels`")
        return CtcHead(width, self.labels, self.dropout)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(labels=7), cls(labels=2, dropout=0.3)]
