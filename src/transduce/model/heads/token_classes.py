"""The head that tells which class each token is of.

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


class TokenClassesHead(Head):
    """See `TokenClassesHeadConfig`."""

    def __init__(self, width: int, classes: int, p: float, bias: bool) -> None:
        super().__init__()
        self.output, self.size, self.p = nn.Linear(width, classes, bias=bias), classes, p

    def forward(self, hidden: Tensor) -> Tensor:
        return accurate(self.output(dropout(hidden, self.p, self.training).to(self.output.weight.dtype)))


@dataclass(frozen=True, kw_only=True)
class TokenClassesHeadConfig(HeadConfig):
    """A logit of each class of every token: W h + b.   Devlin et al. 2018, arXiv:1810.04805, sec. 5.3.

    classes: how many there are; None: as many as the tags of the data, or two for where an answer begins and ends.
    dropout: of what the output reads.
    bias: whether there is b.
    """

    kind: ClassVar[str] = "token-classes"
    classes: int | None = None
    dropout: float = 0.0
    bias: bool = True

    def __post_init__(self) -> None:
        require_probability(dropout=self.dropout)
        require_at_least(1, classes=self.classes)

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        if self.classes is None:
            raise UserError("head=token-classes does not know how many classes there are; set its key `classes`")
        return TokenClassesHead(width, self.classes, self.dropout, self.bias)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(classes=7), cls(classes=2, dropout=0.3, bias=False)]
