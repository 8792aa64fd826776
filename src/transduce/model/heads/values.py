"""Heads that predict numbers of each token: as they are, or in bins.

Tested in tests/model/test_heads.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig, accurate
from transduce.model.norms.norm import NormConfig


class ValuesHead(Head):
    """See `ValuesHeadConfig`."""

    def __init__(self, width: int, size: int, bounded: bool) -> None:
        super().__init__()
        self.output, self.size, self.bounded = nn.Linear(width, size), size, bounded

    def forward(self, hidden: Tensor) -> Tensor:
        y = accurate(self.output(hidden.to(self.output.weight.dtype)))
        return torch.tanh(y) if self.bounded else y


@dataclass(frozen=True, kw_only=True)
class ValuesHeadConfig(HeadConfig):
    """Numbers of each token: W h + b, or tanh of it.

    size: how many numbers (None: as many as an action has).
    bounded: whether tanh brings them between -1 and 1.
    """

    kind: ClassVar[str] = "values"
    size: int | None = None
    bounded: bool = False

    def __post_init__(self) -> None:
        require_at_least(1, size=self.size)

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        if self.size is None:
            raise UserError("head=values does not know how many numbers there are; set its key `size`")
        return ValuesHead(width, self.size, self.bounded)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(size=5), cls(size=1, bounded=True)]


class BinsHead(Head):
    """See `BinsHeadConfig`. size: numbers times bins; the bins of a number stand side by side."""

    def __init__(self, width: int, numbers: int, bins: int) -> None:
        super().__init__()
        self.output, self.size = nn.Linear(width, numbers * bins), numbers * bins
        self.numbers, self.bins = numbers, bins

    def forward(self, hidden: Tensor) -> Tensor:
        return accurate(self.output(hidden.to(self.output.weight.dtype)))

    def parted(self, logits: Tensor) -> Tensor:
        """(..., size) -> (..., numbers, bins)."""
        return logits.view(*logits.shape[:-1], self.numbers, self.bins)


@dataclass(frozen=True, kw_only=True)
class BinsHeadConfig(HeadConfig):
    """A logit of each bin of every number of a token: W h + b.   Brohan et al. 2022, arXiv:2212.06817, sec. 5.1.

    numbers: how many there are (None: as many as an action has).
    bins: of each number (None: as the task has it).
    """

    kind: ClassVar[str] = "bins"
    numbers: int | None = None
    bins: int | None = None

    def __post_init__(self) -> None:
        require_at_least(1, numbers=self.numbers)
        require_at_least(2, bins=self.bins)

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head:
        if self.numbers is None or self.bins is None:
            raise UserError("head=bins does not know how many numbers and bins there are; set task.bins, such as 256")
        return BinsHead(width, self.numbers, self.bins)

    @classmethod
    def examples(cls) -> list[HeadConfig]:
        return [cls(numbers=2, bins=4)]
