"""The head that maps each token to features.

Tested in tests/model/test_heads.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.errors import require_at_least
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig, accurate
from transduce.model.norms.norm import NormConfig
from transduce.model.roles import Roles


class ProjectionHead(Head):
    """See `ProjectionHeadConfig`."""

    roles: ClassVar[Roles] = {"out.weight": "writes"}

    def __init__(self, width: int, config: "ProjectionHeadConfig") -> None:
        super().__init__()
        self.size, self.out = config.size, nn.Linear(width, config.size, bias=config.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return accurate(self.out(hidden))


@dataclass(frozen=True, kw_only=True)
class ProjectionHeadConfig(HeadConfig):
    """W h: features of each token, the mean of which stands for a sentence.   GTR: Ni et al. 2021, arXiv:2112.07899.

    size: how many features.
    bias: whether a b is added.
    """

    kind: ClassVar[str] = "projection"
    size: int = 768
    bias: bool = False

    def __post_init__(self) -> None:
        require_at_least(1, size=self.size)

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        return ProjectionHead(width, self)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(size=7), cls(size=1, bias=True)]
