"""Decoder-only models.

Tested in tests/model/test_architecture.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from transduce.model.architecture.base import ModelConfig
from transduce.model.models import Decoder, Model
from transduce.model.residual.residual import Place


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(ModelConfig):
    """A decoder-only language model.

    tie_embeddings: input and output share one table.
    """

    kind: ClassVar[str] = "decoder"
    tie_embeddings: bool = True

    def assembled(self, vocab_size: int) -> Model:
        positions = self.encodings()
        embed = self.embed(vocab_size, positions)
        stack = self.stack(self.layers, positions, None, Place())
        head = self.head.build(vocab_size, self.width, self.norm, embed if self.tie_embeddings else None)
        return Decoder(embed, stack, head)
