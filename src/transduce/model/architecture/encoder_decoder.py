"""An encoder, and a decoder that reads it.

Tested in tests/model/test_architecture.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from transduce.errors import UserError, require_at_least
from transduce.model.architecture.base import ModelConfig
from transduce.model.architecture.between import Between
from transduce.model.architecture.encoder import EncoderConfig
from transduce.model.architecture.layers import LayerConfig, Layers, require_layers, runs
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.mixers.bidirectional import in_encoder
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import Decoder, Encoder, EncoderDecoder, Model
from transduce.model.residual.residual import Place


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(ModelConfig):
    """An encoder, and a decoder that reads it: by default the Transformer of Vaswani et al. 2017.

    encoder_layers: layers of the encoder (None: `layers`).
    decoder_layers: layers of the decoder (None: `layers`).
    encoder_mixer: the mixer of the encoder (None: `mixer`, both ways if it depends on order).
    cross: the mixer between the two (None: `mixer` without a window); kind `none`: nothing is read.
    cross_place: after the decoder's mixer, before it, or inside its recurrence.
    bridge: whether the decoder's mixers go on from where the encoder's ended: with their "state" as it is (Sutskever et
        al. 2014), or "project"ed, tanh(W state) (Bahdanau et al. 2014).
    tie_embeddings: "all": source, target and output share one table; "inputs": source and target; "output": target and
        output; "none".
    source_vocab: tokens of the source, where its table is its own and of another size (None: as the target).
    tie_positions: both sides share learned positions and, where they share a table, the norm of the embedding.
    decoder_embedding: of the target, where it is of another kind than the source's (None: `embedding`).
    """

    kind: ClassVar[str] = "encoder-decoder"
    task: ClassVar[str] = "translate"
    encoder_layers: Layers | None = None
    decoder_layers: Layers | None = None
    encoder_mixer: MixerConfig | None = None
    cross: MixerConfig | None = None
    cross_place: Literal["after", "before", "inside"] = "after"
    bridge: Literal["none", "state", "project"] = "none"
    tie_embeddings: Literal["all", "inputs", "output", "none"] = "all"
    source_vocab: int | None = None
    tie_positions: bool = True
    decoder_embedding: EmbeddingConfig | None = None

    def __post_init__(self) -> None:
        require_layers(encoder_layers=self.encoder_layers, decoder_layers=self.decoder_layers)
        super().__post_init__()
        require_at_least(1, source_vocab=self.source_vocab)
        if self.source_vocab is not None and self.one_table:
            raise UserError(
                f"source_vocab={self.source_vocab} asks for a table of the source, but tie_embeddings="
                f"{self.tie_embeddings} shares it with the target; use output, or none"
            )
        if self.cross is not None and self.cross != self.cross.for_source():
            raise UserError(
                "cross has a window, but places in a source are not places in the target; leave out cross.window and "
                "cross.sinks"
            )
        lower = runs(self.lower)
        crossed = any(not (run.cross or self.reads).absent for run in lower)
        bridged = self.bridge != "none" and any(not (run.mixer or self.mixer).absent for run in lower)
        if not crossed and not bridged:
            raise UserError(
                "no layer of the decoder would learn anything of the source; set model.cross=attention, or, where the "
                "mixers of both sides are recurrent, model.bridge=project"
            )

    @property
    def reads(self) -> MixerConfig:
        """Returns the mixer between the two."""
        return self.cross or self.mixer.for_source()

    def mixers(self) -> Iterator[MixerConfig]:
        yield from (self.encoding(run) for run in runs(self.upper))
        yield from (run.mixer or self.mixer for run in runs(self.lower))

    def encoding(self, run: LayerConfig) -> MixerConfig:
        return in_encoder(run.mixer or self.encoder_mixer or self.mixer)

    @property
    def upper(self) -> Layers:
        return self.layers if self.encoder_layers is None else self.encoder_layers

    @property
    def lower(self) -> Layers:
        return self.layers if self.decoder_layers is None else self.decoder_layers

    @property
    def one_table(self) -> bool:
        """Says whether source and target share the embedding's table."""
        return self.tie_embeddings in ("all", "inputs")

    def body(self) -> ModelConfig:
        """Returns the encoder alone."""
        return EncoderConfig(
            width=self.width, layers=self.upper, mixer=self.encoder_mixer or self.mixer, feedforward=self.feedforward,
            residual=self.residual, norm=self.norm, positions=self.positions, init=self.init, embedding=self.embedding,
            scale_embedding=self.scale_embedding,
        )  # fmt: skip

    def assembled(self, vocab_size: int) -> Model:
        positions = self.encodings()
        source = self.embed(self.source_vocab or vocab_size, positions)
        target, own = source, replace(self, embedding=self.decoder_embedding or self.embedding)
        if not self.one_table:
            target = own.embed(vocab_size, positions if self.tie_positions else self.encodings())
        elif not self.tie_positions or self.decoder_embedding is not None:
            target = own.embed(vocab_size, positions if self.tie_positions else self.encodings(), shared=source)
        above, below = (sum(run.times for run in runs(layers)) for layers in (self.upper, self.lower))
        between = Between(self.reads, self.cross_place, self.bridge)
        upper = tuple(replace(run, mixer=self.encoding(run)) for run in runs(self.upper))
        encoder = Encoder(source, self.stack(upper, positions, between, Place(0, above, "encoder", below)))
        between = Between(self.reads, self.cross_place, self.bridge, encoder.stack)
        stack = self.stack(self.lower, positions, between, Place(0, below, "decoder", above))
        tied = target if self.tie_embeddings in ("all", "output") else None
        head = self.head.build(vocab_size, self.width, self.norm, tied)
        reading = [mixer.by_document for block in stack for mixer in block.crosses()]
        by_document = all(reading) and self.bridge == "none" and self.cross_place != "inside"
        return EncoderDecoder(encoder, Decoder(target, stack, head), by_document)
