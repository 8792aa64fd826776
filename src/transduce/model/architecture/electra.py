"""An encoder with a smaller one beside it, which makes what it learns from.

Tested in tests/model/test_electra.py.
"""

from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

from transduce.errors import UserError, require_at_least
from transduce.model.architecture.encoder import EncoderConfig
from transduce.model.architecture.layers import Layers, require_layers
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.heads.discriminator import DiscriminatorHeadConfig
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.transform import TransformHead, TransformHeadConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import Electra, EncoderOnly, Model


@dataclass(frozen=True, kw_only=True)
class ElectraConfig(EncoderConfig):
    """An encoder, and a smaller generator that shares its table of tokens.   Clark et al. 2020, arXiv:2003.10555.

    For objective=replaced-tokens; `start` of another training takes the encoder alone.

    generator_width: features of the generator (None: half of the width).
    generator_layers: layers of the generator (None: as the encoder).
    generator_mixer: mixer of the generator (None: as the encoder).
    generator_feedforward: feed-forward of the generator (None: as the encoder).
    """

    kind: ClassVar[str] = "electra"
    head: HeadConfig = field(default_factory=DiscriminatorHeadConfig)
    generator_width: int | None = None
    generator_layers: Layers | None = None
    generator_mixer: MixerConfig | None = None
    generator_feedforward: FeedForwardConfig | None = None

    def __post_init__(self) -> None:
        require_layers(generator_layers=self.generator_layers)
        require_at_least(1, generator_width=self.generator_width)
        super().__post_init__()
        if not isinstance(self.embedding, TableConfig):
            raise UserError(
                f"model.kind=electra shares a table of tokens, but embedding={self.embedding.kind} has none"
            )

    @property
    def generator(self) -> EncoderConfig:
        """Returns the generator, whose table has the features of the encoder's."""
        assert isinstance(self.embedding, TableConfig)
        table = replace(self.embedding, size=self.embedding.size or self.width)
        return replace(
            self.body(), width=self.generator_width or self.width // 2, layers=self.generator_layers or self.layers,
            mixer=self.generator_mixer or self.mixer, feedforward=self.generator_feedforward or self.feedforward,
            embedding=table, head=TransformHeadConfig(), heads={}, tie_embeddings=True,
        )  # fmt: skip

    def body(self) -> EncoderConfig:
        return EncoderConfig(**{one.name: getattr(self, one.name) for one in fields(EncoderConfig)})

    def assembled(self, vocab_size: int) -> Model:
        encoder, generator = super().assembled(vocab_size), self.generator.assembled(vocab_size)
        assert isinstance(encoder, EncoderOnly)
        assert isinstance(generator, EncoderOnly)
        assert isinstance(generator.head, TransformHead)
        generator.embed.weight = generator.head.weight = encoder.embed.weight
        return Electra(encoder, generator)
