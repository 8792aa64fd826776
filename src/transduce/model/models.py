"""Encoder, decoder, and the two together."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from transduce.config import Part
from transduce.data.batch import Batch
from transduce.errors import UserError, require_at_least
from transduce.model.block import Block, Cross, Encode, Feed, Mix, Sublayer
from transduce.model.embed import Embedding
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads import Head
from transduce.model.init import InitConfig, XavierInit
from transduce.model.layout import Layout
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.norms import LayerNorm, NormConfig
from transduce.model.ops.precision import lowered
from transduce.model.positions.absolute import SinusoidalConfig
from transduce.model.positions.position import Positions, PositionsConfig
from transduce.model.residual import PreNormConfig, ResidualConfig
from transduce.model.stack import Repeat, Stack
from transduce.model.state import State


class Model(nn.Module, ABC):
    """Ids to hidden states to logits. `features` is for training, `step` for decoding; `head` makes logits."""

    takes_source: ClassVar[bool]
    head: Head
    limit: int | None  # first position that cannot be encoded

    @abstractmethod
    def features(self, batch: Batch) -> Tensor:
        """Hidden states (B, T, M) of the inputs of a batch."""

    @abstractmethod
    def init_state(self, batch: int, max_len: int) -> State:
        """Empty memories for `batch` rows of up to max_len tokens."""

    @abstractmethod
    def step(self, ids: Tensor, layout: Layout, state: State, memory: State = None) -> tuple[Tensor, State]:
        """The next (R, T) tokens of every row -> hidden states (R, T, M) and the state. memory: what `remember` gave;
        R may be K times its rows, for K beams of each source that stand side by side."""

    @abstractmethod
    def stacks(self) -> list[Stack]:
        """Encoder, then decoder: for compilation, recomputation and counting, block by block."""

    def remember(self, source: Tensor, layout: Layout) -> State:
        """What the decoder reads of the source ids (B, N) at every step."""
        raise UserError("this model has no encoder, so it reads no source; give the text as a prompt")


class Decoder(Model):
    """Embedding, stack of causal blocks, head: a language model."""

    takes_source = False

    def __init__(self, embed: Embedding, stack: Stack, head: Head) -> None:
        super().__init__()
        self.embed, self.stack, self.head = embed, stack, head
        self.limit = limit_of(stack, embed)

    def features(self, batch: Batch) -> Tensor:
        return self.stack(self.embed(batch.inputs, batch.layout), batch.layout)[0]

    def init_state(self, batch: int, max_len: int) -> State:
        return self.stack.init_state(batch, max_len, device=self.head.weight.device, dtype=self.head.weight.dtype)

    def step(self, ids: Tensor, layout: Layout, state: State, memory: State = None) -> tuple[Tensor, State]:
        return self.stack(self.embed(ids, layout), layout, state, memory)

    def stacks(self) -> list[Stack]:
        return [self.stack]


class Encoder(nn.Module):
    """Embedding and stack: (B, N) ids -> (B, N, M)."""

    def __init__(self, embed: Embedding, stack: Stack) -> None:
        super().__init__()
        self.embed, self.stack = embed, stack

    def forward(self, ids: Tensor, layout: Layout) -> Tensor:
        return self.stack(self.embed(ids, layout), layout)[0]


class EncoderDecoder(Model):
    """An encoder, and a decoder whose blocks read what they wrote of its output.   Vaswani et al. 2017, fig. 1."""

    takes_source = True

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        limits = [x for x in (decoder.limit, limit_of(encoder.stack, encoder.embed)) if x is not None]
        self.limit = min(limits, default=None)

    @property
    def head(self) -> Head:  # type: ignore[override]
        return self.decoder.head

    def features(self, batch: Batch) -> Tensor:
        assert batch.source is not None, "an encoder-decoder needs a source"
        assert batch.source_layout is not None
        memory = self.remember(batch.source, batch.source_layout)
        return self.decoder.stack(self.decoder.embed(batch.inputs, batch.layout), batch.layout, None, memory)[0]

    def remember(self, source: Tensor, layout: Layout) -> State:
        return self.decoder.stack.remember(lowered(self.encoder(source, layout)), layout)

    def init_state(self, batch: int, max_len: int) -> State:
        return self.decoder.init_state(batch, max_len)

    def step(self, ids: Tensor, layout: Layout, state: State, memory: State = None) -> tuple[Tensor, State]:
        return self.decoder.step(ids, layout, state, memory)

    def stacks(self) -> list[Stack]:
        return [self.encoder.stack, self.decoder.stack]


def limit_of(stack: Stack, embed: Embedding) -> int | None:
    """The smallest position limit of the encodings in a stack and its embedding."""
    found = [m.limit for part in (stack, embed) for m in part.modules() if isinstance(m, Positions)]
    return min((x for x in found if x is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class LayerConfig:
    """A run of equal layers. What is None is the model's. tied: the layers share their weights."""

    times: int = 1
    tied: bool = False
    mixer: MixerConfig | None = None
    feedforward: FeedForwardConfig | None = None
    residual: ResidualConfig | None = None

    def __post_init__(self) -> None:
        require_at_least(1, times=self.times)


Layers = int | tuple[LayerConfig, ...]


def require_layers(**values: Layers | None) -> None:
    """Raise UserError unless every stack that is given has a layer."""
    for name, layers in values.items():
        if layers is not None and (layers < 1 if isinstance(layers, int) else not layers):
            raise UserError(f"{name}={layers if isinstance(layers, int) else []} must be at least 1 layer")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Part):
    """What all models share. dropout of the embedding is that of the residual.

    layers: their number, or a list of runs of layers. scale_embedding: multiply embeddings by sqrt(width).
    """

    folder: ClassVar[str] = "transduce.model.models"
    width: int = 256
    layers: Layers = 3
    mixer: MixerConfig = field(default_factory=AttentionConfig)
    feedforward: FeedForwardConfig = field(default_factory=MLPConfig)
    residual: ResidualConfig = field(default_factory=PreNormConfig)
    norm: NormConfig = field(default_factory=LayerNorm)
    positions: PositionsConfig = field(default_factory=SinusoidalConfig)
    init: InitConfig = field(default_factory=XavierInit)
    scale_embedding: bool = True

    def __post_init__(self) -> None:
        require_at_least(1, width=self.width)
        require_layers(layers=self.layers)
        self.mixer.head_dim(self.width)

    def build(self, vocab_size: int, seed: int = 0) -> Model:
        """The model with start values drawn from `seed`."""
        model = self.assemble(vocab_size)
        self.init.apply(model, self.width, max(len(s.order) for s in model.stacks()), seed)
        return model

    def assemble(self, vocab_size: int) -> Model:
        """The model without start values."""
        raise AssertionError("a kind of ModelConfig defines assemble")

    def embedding(self, vocab_size: int, positions: Positions) -> Embedding:
        scale = self.width**0.5 if self.scale_embedding else 1.0
        return Embedding(vocab_size, self.width, positions, scale, self.residual.dropout)

    def encodings(self) -> Positions:
        return self.positions.build(self.width, self.mixer.head_dim(self.width))

    def stack(self, layers: Layers, positions: Positions, role: str, cross: MixerConfig | None) -> Stack:
        """Blocks of [mix | encode], [cross], feed."""
        blocks: list[Block | Repeat] = []
        for run in (LayerConfig(times=layers),) if isinstance(layers, int) else layers:
            made = [self.block(run, positions, role, cross) for _ in range(1 if run.tied else run.times)]
            blocks += [Repeat(made[0], run.times)] if run.tied else made
        ends = self.residual
        return Stack(blocks, ends.enter(self.width, self.norm), ends.leave(self.width, self.norm))

    def block(self, run: LayerConfig, positions: Positions, role: str, cross: MixerConfig | None) -> Block:
        mixer = (run.mixer or self.mixer).build(self.width, positions)
        parts: list[Sublayer] = [Encode(mixer) if role == "encoder" else Mix(mixer)]
        if cross is not None:
            parts.append(Cross(cross.build(self.width, Positions())))
        parts.append(Feed((run.feedforward or self.feedforward).build(self.width)))
        residual = run.residual or self.residual
        return Block([(residual.build(self.width, self.norm), part) for part in parts])


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(ModelConfig):
    """A decoder-only language model. tie_embeddings: input and output share one table."""

    kind: ClassVar[str] = "decoder"
    tie_embeddings: bool = True

    def assemble(self, vocab_size: int) -> Model:
        positions = self.encodings()
        embed = self.embedding(vocab_size, positions)
        stack = self.stack(self.layers, positions, "decoder", None)
        return Decoder(embed, stack, Head(vocab_size, self.width, embed.weight if self.tie_embeddings else None))


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(ModelConfig):
    """The Transformer of Vaswani et al. 2017.

    tie_embeddings: "all" = source, target and output share one table; "output" = target and output; "none".
    encoder_layers, decoder_layers: where they differ from `layers`.
    cross: the mixer between the two; None: `mixer` without a window.
    """

    kind: ClassVar[str] = "encoder-decoder"
    encoder_layers: Layers | None = None
    decoder_layers: Layers | None = None
    cross: MixerConfig | None = None
    tie_embeddings: Literal["all", "output", "none"] = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_layers(encoder_layers=self.encoder_layers, decoder_layers=self.decoder_layers)
        if self.cross is not None and self.cross != self.cross.for_source():
            raise UserError(
                "cross has a window, but places in a source are not places in the target; leave out cross.window and "
                "cross.sinks"
            )

    def assemble(self, vocab_size: int) -> Model:
        positions = self.encodings()
        source = self.embedding(vocab_size, positions)
        target = source if self.tie_embeddings == "all" else self.embedding(vocab_size, positions)
        upper = self.layers if self.encoder_layers is None else self.encoder_layers
        lower = self.layers if self.decoder_layers is None else self.decoder_layers
        encoder = Encoder(source, self.stack(upper, positions, "encoder", None))
        stack = self.stack(lower, positions, "decoder", self.cross or self.mixer.for_source())
        head = Head(vocab_size, self.width, None if self.tie_embeddings == "none" else target.weight)
        return EncoderDecoder(encoder, Decoder(target, stack, head))
