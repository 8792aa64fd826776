"""No head.

Tested in tests/model/test_heads.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, HeadConfig
from transduce.model.norms.norm import NormConfig


@dataclass(frozen=True, kw_only=True)
class NoHeadConfig(HeadConfig):
    """None: a model gives hidden states alone, and its `head` is None."""

    kind: ClassVar[str] = "none"

    def build(self, vocab_size: int, width: int, norm: NormConfig, tied: Embedding | None) -> Head | None:
        return None
