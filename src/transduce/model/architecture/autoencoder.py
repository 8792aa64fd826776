"""Models that make few numbers of a picture, and the picture of them.

Tested in tests/model/test_autoencoder.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from transduce.errors import UserError, require_at_least
from transduce.model.architecture.encoder import EncoderConfig
from transduce.model.architecture.layers import Layers, require_layers, runs
from transduce.model.autoencoder import Autoencoder
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.embed.pictures import PictureEmbedding
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.heads.pixels import PixelsHeadConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import EncoderOnly, Model
from transduce.model.positions.grid import Sinusoidal2dConfig
from transduce.model.positions.position import PositionsConfig
from transduce.model.residual.norm_first import PreNormConfig
from transduce.model.residual.residual import ResidualConfig


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(EncoderConfig):
    """An encoder that makes a grid of latents of a picture, and a decoder that makes the picture of them.

    Rombach et al. 2022, arXiv:2112.10752, sec. 3.1, with stacks of layers in the place of its convolutions. There are
    as many places of latents as the embedding has parts of a picture.

    latent_channels: numbers of a place.
    decoder_layers: layers of the decoder (None: `layers`).
    """

    kind: ClassVar[str] = "autoencoder"
    task: ClassVar[str] = "autoencode"
    residual: ResidualConfig = field(default_factory=lambda: PreNormConfig(dropout=0.0))
    embedding: EmbeddingConfig = field(default_factory=PatchesConfig)
    positions: PositionsConfig = field(default_factory=Sinusoidal2dConfig)
    head: HeadConfig = field(default_factory=PixelsHeadConfig)
    tie_embeddings: bool = False
    latent_channels: int = 4
    decoder_layers: Layers | None = None

    def __post_init__(self) -> None:
        require_layers(decoder_layers=self.decoder_layers)
        super().__post_init__()
        require_at_least(1, latent_channels=self.latent_channels)

    @property
    def lower(self) -> Layers:
        return self.layers if self.decoder_layers is None else self.decoder_layers

    def mixers(self) -> Iterator[MixerConfig]:
        yield from (run.mixer or self.mixer for layers in (self.layers, self.lower) for run in runs(layers))

    def side(self, layers: Layers, embedding: EmbeddingConfig, head: HeadConfig) -> EncoderConfig:
        """Returns the encoder or the decoder, in both of which every place sees all others."""
        return EncoderConfig(
            width=self.width, layers=layers, mixer=self.mixer, feedforward=self.feedforward, residual=self.residual,
            norm=self.norm, positions=self.positions, init=self.init, embedding=embedding, head=head,
            scale_embedding=self.scale_embedding, tie_embeddings=False,
        )  # fmt: skip

    def assembled(self, vocab_size: int) -> Model:
        encoder = self.side(self.layers, self.embedding, NoHeadConfig()).assembled(vocab_size)
        assert isinstance(encoder, EncoderOnly)
        if not isinstance(encoder.embed, PictureEmbedding) or not isinstance(self.head, PixelsHeadConfig):
            what = f"model.kind={self.kind} makes pictures of pictures"
            raise UserError(f"{what}; use model.embedding=patches, or convolutions, and model.head=pixels")
        (height, width), shape = encoder.embed.picture, encoder.embed.shape
        patch = height // shape[0]
        if (patch * shape[0], patch * shape[1]) != (height, width):
            what = f"pictures of {height} x {width} pixels are not {shape[0]} x {shape[1]} whole patches"
            raise UserError(f"{what}, so they cannot be put together again; use another patch, or strides that fit")
        head = replace(self.head, picture=(height, width), patch=patch, channels=self.head.channels or vocab_size)
        latents = PatchesConfig(picture=shape, patch=1)
        decoder = self.side(self.lower, latents, head).assembled(self.latent_channels)
        assert isinstance(decoder, EncoderOnly)
        return Autoencoder(encoder, decoder, self.width, self.latent_channels)
