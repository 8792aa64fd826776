"""An encoder of pictures beside one of texts.

Tested in tests/model/test_towers.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from transduce.errors import UserError, require_at_least
from transduce.model.architecture.base import ModelConfig
from transduce.model.architecture.encoder import EncoderConfig
from transduce.model.architecture.layers import Layers, require_layers, runs
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.patches import PatchesConfig
from transduce.model.embed.table import TableConfig
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.joint import JointHeadConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import EncoderOnly, Model
from transduce.model.positions.absolute import SinusoidalConfig
from transduce.model.positions.grid import Sinusoidal2dConfig
from transduce.model.positions.position import PositionsConfig
from transduce.model.towers import Towers


@dataclass(frozen=True, kw_only=True)
class TowersConfig(ModelConfig):
    """An encoder of pictures and one of texts, whose vectors can be compared.   Radford et al. 2021, arXiv:2103.00020.

    Keys without `text_` are of pictures, and of texts too where theirs is left out.

    channels: of a pixel (None: those of the data).
    text_layers: layers of the encoder of texts (None: `layers`).
    text_mixer: its mixer (None: `mixer`).
    text_embedding: of ids.
    text_positions: how the order of tokens is known.
    """

    kind: ClassVar[str] = "towers"
    task: ClassVar[str] = "match"
    embedding: EmbeddingConfig = field(default_factory=PatchesConfig)
    positions: PositionsConfig = field(default_factory=Sinusoidal2dConfig)
    head: HeadConfig = field(default_factory=JointHeadConfig)
    channels: int | None = None
    text_layers: Layers | None = None
    text_mixer: MixerConfig | None = None
    text_embedding: EmbeddingConfig = field(default_factory=TableConfig)
    text_positions: PositionsConfig = field(default_factory=SinusoidalConfig)

    def __post_init__(self) -> None:
        require_layers(text_layers=self.text_layers)
        require_at_least(1, channels=self.channels)
        super().__post_init__()
        self.of_texts()

    def mixers(self) -> Iterator[MixerConfig]:
        """Yields those of the layers that read pictures."""
        yield from (run.mixer or self.mixer for run in runs(self.layers))

    def of_pictures(self) -> EncoderConfig:
        """Returns the encoder of pictures, without a head."""
        return EncoderConfig(
            width=self.width, layers=self.layers, mixer=self.mixer, feedforward=self.feedforward,
            residual=self.residual, norm=self.norm, positions=self.positions, init=self.init, embedding=self.embedding,
            scale_embedding=self.scale_embedding, head=NoHeadConfig(), tie_embeddings=False,
        )  # fmt: skip

    def of_texts(self) -> EncoderConfig:
        """Returns the encoder of texts, without a head."""
        return EncoderConfig(
            width=self.width, layers=self.layers if self.text_layers is None else self.text_layers,
            mixer=self.text_mixer or self.mixer, feedforward=self.feedforward, residual=self.residual, norm=self.norm,
            positions=self.text_positions, init=self.init, embedding=self.text_embedding,
            scale_embedding=self.scale_embedding, head=NoHeadConfig(), tie_embeddings=False,
        )  # fmt: skip

    def assembled(self, vocab_size: int) -> Model:
        if self.channels is None:
            raise UserError("model.kind=towers does not know the channels of pictures; set model.channels, such as 3")
        pictures, texts = self.of_pictures().assembled(self.channels), self.of_texts().assembled(vocab_size)
        assert isinstance(pictures, EncoderOnly)
        assert isinstance(texts, EncoderOnly)
        texts.head = self.head.build(vocab_size, self.width, self.norm, None)
        beside = self.head.beside() if isinstance(self.head, JointHeadConfig) else self.head
        pictures.head = beside.build(vocab_size, self.width, self.norm, None)
        return Towers(pictures, texts)
