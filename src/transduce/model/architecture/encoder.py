"""Encoder-only models.

Tested in tests/model/test_ends.py.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

from transduce.model.architecture.base import ModelConfig
from transduce.model.architecture.layers import runs
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.transform import TransformHeadConfig
from transduce.model.mixers.bidirectional import in_encoder
from transduce.model.models import EncoderOnly, Model
from transduce.model.residual.residual import Place


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(ModelConfig):
    """An encoder alone: every token sees all others.   Devlin et al. 2018, arXiv:1810.04805.

    tie_embeddings: the head uses the table of the input.
    """

    kind: ClassVar[str] = "encoder"
    head: HeadConfig = field(default_factory=TransformHeadConfig)
    tie_embeddings: bool = True

    def assembled(self, vocab_size: int) -> Model:
        positions = self.encodings()
        embed = self.embed(vocab_size, positions)
        upper = tuple(replace(run, mixer=in_encoder(run.mixer or self.mixer)) for run in runs(self.layers))
        depth = sum(run.times for run in upper)
        stack = self.stack(upper, positions, None, Place(0, depth, "encoder"))
        head = self.head.build(vocab_size, self.width, self.norm, embed if self.tie_embeddings else None)
        return EncoderOnly(embed, stack, head)
