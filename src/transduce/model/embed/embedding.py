"""The contract of embeddings: inputs, such as token ids, to the vectors that enter a stack, and where these sit.

Tested in tests/model/test_heads.py.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.config import Part
from transduce.model.layout import Layout
from transduce.model.norms.norm import NormConfig
from transduce.model.positions.position import Positions


class Embedding(nn.Module, ABC):
    """(B, T) ids, or other inputs, and their layout -> (B, S, M), vectors that sit where `arrange` says.

    weight: the (V, E) table, where there is one. positions: those that are added to tokens, if there are.
    counts_inputs: their limit is one of the inputs of a row, not of what becomes of them.
    """

    counts_inputs: ClassVar[bool] = True
    weight: nn.Parameter
    positions: Positions

    @abstractmethod
    def forward(self, ids: Tensor, layout: Layout) -> Tensor: ...

    def arrange(self, layout: Layout) -> Layout:
        """Returns the layout of the vectors that are made of inputs of a layout: the same, unless slots are added,
        joined or parted. It depends on shapes and on the layout alone."""
        return layout


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig(Part):
    """The choice of an embedding.

    `build` makes the module of `vocab_size` rows, which may be more than a tokeniser has tokens; of inputs that are
    numbers it is how many a step, or a pixel, has. It is given the
    model's norm; the scale by which vectors of tokens are multiplied, before positions are added; p, the dropout; and,
    as shared, another embedding whose table it uses.
    """

    folder: ClassVar[str] = "transduce.model.embed"

    def build(
        self, vocab_size: int, width: int, norm: NormConfig, positions: Positions, *, scale: float, p: float,
        shared: Embedding | None = None,
    ) -> Embedding:  # fmt: skip
        raise AssertionError("a kind of EmbeddingConfig defines build")

    def added_at(self, width: int) -> int:
        """Returns the features of the vectors that positions are added to."""
        return width
