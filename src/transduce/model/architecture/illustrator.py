"""Models that remove noise and are told a caption.

Tested in tests/model/test_illustrator.py.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from transduce.errors import UserError, require_at_least
from transduce.model.architecture.encoder import EncoderConfig
from transduce.model.architecture.layers import Layers, require_layers
from transduce.model.condition import CaptionCondition, require_pairs
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.embed.table import TableConfig
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.numbers import NumbersHeadConfig
from transduce.model.heads.pixels import PixelsHeadConfig
from transduce.model.illustrator import Illustrator
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import EncoderOnly, Model
from transduce.model.norms.norm import LayerNorm, NormConfig
from transduce.model.positions.absolute import SinusoidalConfig
from transduce.model.positions.grid import Sinusoidal2dConfig
from transduce.model.positions.position import PositionsConfig
from transduce.model.process.diffusion import Diffusion
from transduce.model.process.process import Process
from transduce.model.residual.adaptive import AdaptiveConfig
from transduce.model.residual.norm_first import PreNormConfig
from transduce.model.residual.residual import ResidualConfig


@dataclass(frozen=True, kw_only=True)
class IllustratorConfig(EncoderConfig):
    """A DiT whose condition is the time and a caption: the mean of what an encoder of texts makes of its tokens.

    Peebles & Xie 2022, arXiv:2212.09748, sec. 3, with a caption in the place of the class; the encoder is trained with
    it. Keys without `text_` are of pictures.

    process: how data become noise, and what is predicted.
    frequencies: features of the sines and cosines of the time.
    ends: the slowest of them turns by the time / 10,000, as in diffusers; else it is a little faster, as in the paper.
    channels: of a pixel (None: those of the data).
    text_layers: layers of the encoder of texts.
    text_mixer: its mixer (None: `mixer`).
    text_residual: its residual.
    text_embedding: of ids.
    text_positions: how the order of tokens is known.
    """

    kind: ClassVar[str] = "illustrator"
    task: ClassVar[str] = "illustrate"
    conditions: ClassVar[bool] = True
    residual: ResidualConfig = field(default_factory=AdaptiveConfig)
    norm: NormConfig = field(default_factory=lambda: LayerNorm(eps=1e-6, gain=False))
    embedding: EmbeddingConfig = field(default_factory=PatchesConfig)
    positions: PositionsConfig = field(default_factory=Sinusoidal2dConfig)
    head: HeadConfig = field(default_factory=PixelsHeadConfig)
    tie_embeddings: bool = False
    process: Process = field(default_factory=Diffusion)
    frequencies: int = 256
    ends: bool = False
    channels: int | None = None
    text_layers: Layers = 1
    text_mixer: MixerConfig | None = None
    text_residual: ResidualConfig = field(default_factory=lambda: PreNormConfig(dropout=0.0))
    text_embedding: EmbeddingConfig = field(default_factory=TableConfig)
    text_positions: PositionsConfig = field(default_factory=SinusoidalConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_layers(text_layers=self.text_layers)
        require_at_least(4, frequencies=self.frequencies)
        require_at_least(1, channels=self.channels)
        require_pairs(self.frequencies)
        self.of_texts()

    def of_texts(self) -> EncoderConfig:
        """Returns the encoder of texts, whose head gives the vector of each."""
        return EncoderConfig(
            width=self.width, layers=self.text_layers, mixer=self.text_mixer or self.mixer,
            feedforward=self.feedforward, residual=self.text_residual, norm=self.norm, positions=self.text_positions,
            init=self.init, embedding=self.text_embedding, scale_embedding=self.scale_embedding,
            head=NumbersHeadConfig(size=self.width), tie_embeddings=False,
        )  # fmt: skip

    def assembled(self, vocab_size: int) -> Model:
        if self.channels is None:
            raise UserError("model.kind=illustrator does not know the channels of pictures; set model.channels=3")
        pictures, texts = super().assembled(self.channels), self.of_texts().assembled(vocab_size)
        assert isinstance(pictures, EncoderOnly)
        assert isinstance(texts, EncoderOnly)
        condition = CaptionCondition(self.width, self.frequencies, self.ends)
        return Illustrator(pictures, texts, condition, self.process)
