"""Softmax attention whose map to keys has no bias.

Tested in tests/model/test_listener.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from transduce.errors import require_probability
from transduce.model.mixers.attention import Attention, AttentionConfig
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import Positions, Queries


@dataclass(frozen=True, kw_only=True)
class UnbiasedKeysConfig(MixerConfig):
    """softmax(q k^T / sqrt(D)) v, k = K x, with biases in all other maps.   Radford et al. 2022, arXiv:2212.04356.

    A bias of keys would add the same number to all scores of a query, which changes none of its weights, where no
    positions act on queries and keys.

    heads: of queries, keys and values.
    dropout: of attention weights.
    """

    kind: ClassVar[str] = "unbiased-keys"
    heads: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        self.attention()
        require_probability(dropout=self.dropout)

    def attention(self) -> AttentionConfig:
        """Returns the same with a bias of keys. Raises UserError."""
        return AttentionConfig(heads=self.heads, dropout=self.dropout)

    def queries(self, width: int) -> Queries:
        return self.attention().queries(width)

    def build(self, width: int, positions: Positions) -> Mixer:
        mixer = Attention(self.attention(), width, positions)
        mixer.k.register_parameter("bias", None)
        return mixer
