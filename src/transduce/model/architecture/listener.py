"""An encoder of sounds, and a decoder that writes what it heard.

Tested in tests/model/test_listener.py.
"""

from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Literal

from transduce.model.architecture.base import ModelConfig
from transduce.model.architecture.encoder_decoder import EncoderDecoderConfig
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.frames import FramesConfig
from transduce.model.embed.table import TableConfig
from transduce.model.listener import Listener
from transduce.model.models import EncoderDecoder, Model
from transduce.model.positions.position import PositionsConfig


@dataclass(frozen=True, kw_only=True)
class ListenerConfig(EncoderDecoderConfig):
    """An encoder of frames of sound, and a decoder that writes token by token.   Radford et al. 2022, arXiv:2212.04356.

    An encoder-decoder whose source is numbers, `source_vocab` in a frame.

    source_positions: of what is heard (None: `positions`).
    """

    kind: ClassVar[str] = "listener"
    task: ClassVar[str] = "transcribe"
    embedding: EmbeddingConfig = field(default_factory=FramesConfig)
    decoder_embedding: EmbeddingConfig | None = field(default_factory=TableConfig)
    scale_embedding: bool = False
    tie_embeddings: Literal["all", "inputs", "output", "none"] = "output"
    tie_positions: bool = False
    source_positions: PositionsConfig | None = None

    @classmethod
    def of(cls, model: EncoderDecoderConfig) -> "ListenerConfig":
        """Returns a listener with the parts of another encoder-decoder."""
        return cls(**{one.name: getattr(model, one.name) for one in fields(model)})

    def body(self) -> ModelConfig:
        """Returns the encoder alone."""
        return replace(super().body(), positions=self.source_positions or self.positions)

    def assembled(self, vocab_size: int) -> Model:
        both = super().assembled(vocab_size)
        assert isinstance(both, EncoderDecoder)
        if self.source_positions is not None:
            both.encoder.embed.positions = self.source_positions.build(self.embedding.added_at(self.width), None)
        return Listener(both, self.source_vocab or vocab_size)
