"""The shape of a model as data, and how blocks, stacks and models are built from it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, cast

from torch import nn

from transduce.config import Part
from transduce.errors import UserError, require_at_least
from transduce.model.block import Block, Cross, Encode, Feed, Inside, Mix, Sublayer, Sum
from transduce.model.bridge import bridge_of, grows
from transduce.model.embed import Embedding
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads import Head
from transduce.model.init.init import InitConfig, Sizes, XavierInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.models import Decoder, Encoder, EncoderDecoder, Model
from transduce.model.norms.norm import LayerNorm, NormConfig
from transduce.model.positions.absolute import SinusoidalConfig
from transduce.model.positions.position import Positions, PositionsConfig
from transduce.model.residual.norm_first import PreNormConfig
from transduce.model.residual.residual import Place, ResidualConfig
from transduce.model.stack import Repeat, Stack


@dataclass(frozen=True, kw_only=True)
class LayerConfig:
    """A run of equal layers. What is None is the model's. tied: the layers share their weights.

    cross: the mixer between source and target, in a decoder that reads one; `none`: these layers do not.
    """

    times: int = 1
    tied: bool = False
    mixer: MixerConfig | None = None
    feedforward: FeedForwardConfig | None = None
    residual: ResidualConfig | None = None
    cross: MixerConfig | None = None

    def __post_init__(self) -> None:
        require_at_least(1, times=self.times)


Layers = int | tuple[LayerConfig, ...]

TIMES = re.compile(r"\s*\[([\w\s,-]*)\]\s*\*\s*(\d+)\s*")


def expanded(layers: Any, own: str) -> Any:
    """Layers as `from_data` reads them: `[delta, delta, attention] * 4`, or a list with the names of mixers in it.

    own: the kind of the model's mixer; a layer of that name has the model's, with its options.
    """
    if isinstance(layers, str) and (product := TIMES.fullmatch(layers)):
        layers = [name.strip() for name in product[1].split(",") if name.strip()] * int(product[2])
    if isinstance(layers, str) and not layers.strip().isdecimal():
        raise UserError(f"layers={layers} is no number, and no list such as `[delta, delta, attention] * 4`")
    if not isinstance(layers, list):
        return layers
    names = cast("list[Any]", layers)
    return [({} if name == own else {"mixer": name}) if isinstance(name, str) else name for name in names]


def require_layers(**values: Layers | None) -> None:
    """Raise UserError unless every stack that is given has a layer."""
    for name, layers in values.items():
        if layers is not None and (layers < 1 if isinstance(layers, int) else not layers):
            raise UserError(f"{name}={layers if isinstance(layers, int) else []} must be at least 1 layer")


def runs(layers: Layers) -> tuple[LayerConfig, ...]:
    return (LayerConfig(times=layers),) if isinstance(layers, int) else layers


NEEDS = {  # what a place calls, where it is, and which key fills it
    "encoder": (("encode",), "in an encoder", "encoder_mixer"),
    "decoder": (("forward",), "in a decoder", "mixer"),
    "cross": (("write", "read"), "between source and target", "cross"),
    "inside": (("forward", "read"), "around a cross mixer (cross_place=inside)", "mixer"),
}


def require_role(mixer: Mixer, kind: str, role: str) -> None:
    """Raise UserError if a mixer does not have what its role calls."""
    methods, where, key = NEEDS[role]
    for method in methods:
        if method in mixer.cannot:
            raise UserError(f"{kind} cannot stand {where}: {mixer.cannot[method]} (the key is model.{key})")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Part):
    """What all models share. dropout of the embedding is that of the residual.

    layers: their number, or a list of runs of layers, or names of mixers such as `[delta, delta, attention] * 4`.
    scale_embedding: multiply embeddings by sqrt(width).
    """

    folder: ClassVar[str] = "transduce.model.architecture"
    width: int = 256
    layers: Layers = 3
    mixer: MixerConfig = field(default_factory=AttentionConfig)
    feedforward: FeedForwardConfig = field(default_factory=MLPConfig)
    residual: ResidualConfig = field(default_factory=PreNormConfig)
    norm: NormConfig = field(default_factory=LayerNorm)
    positions: PositionsConfig = field(default_factory=SinusoidalConfig)
    init: InitConfig = field(default_factory=XavierInit)
    scale_embedding: bool = True

    @classmethod
    def written_out(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Plain data with its shorthands written out."""
        mixer: Any = data.get("mixer", AttentionConfig.kind)
        own = (
            cast("Mapping[str, Any]", mixer).get("kind", AttentionConfig.kind) if isinstance(mixer, Mapping) else mixer
        )
        return {key: expanded(value, own) if key.endswith("layers") else value for key, value in data.items()}

    def __post_init__(self) -> None:
        require_at_least(1, width=self.width)
        require_layers(layers=self.layers)
        acts = self.positions.acts
        mixers = list(self.mixers())
        for mixer in mixers:
            mixer.queries(self.width)
        if acts in ("turn", "bias") and not any(acts in mixer.positions for mixer in mixers):
            names, what = sorted({m.kind for m in mixers}), "queries and keys" if acts == "turn" else "attention scores"
            raise UserError(
                f"positions={self.positions.kind} act on {what}, which {' and '.join(names)} have none of; "
                f"use positions=none"
            )

    def mixers(self) -> Iterator[MixerConfig]:
        """The mixers of all layers, but not those between source and target."""
        yield from (run.mixer or self.mixer for run in runs(self.layers))

    def build(self, vocab_size: int, seed: int = 0) -> Model:
        """The model with start values drawn from `seed`."""
        model = self.assemble(vocab_size)
        depths = [len(stack.order) for stack in model.stacks()]
        self.init.apply(model, Sizes(self.width, depths[0] if len(depths) > 1 else 0, depths[-1]), seed)
        return model

    def assemble(self, vocab_size: int) -> Model:
        """The model without start values."""
        raise AssertionError("a kind of ModelConfig defines assemble")

    def embedding(self, vocab_size: int, positions: Positions) -> Embedding:
        scale = self.width**0.5 if self.scale_embedding else 1.0
        return Embedding(vocab_size, self.width, positions, scale, self.residual.dropout)

    def encodings(self) -> Positions:
        """The positions of the whole model. Raises UserError if mixers that take them disagree about their queries."""
        takers = [mixer for mixer in self.mixers() if self.positions.acts in mixer.positions]
        queries = {taker.queries(self.width) for taker in takers}
        if len(queries) > 1:
            found = ", ".join(f"{q.heads} heads of {q.head_dim}" for q in queries if q is not None)
            raise UserError(f"positions={self.positions.kind} need the same heads in all mixers, but there are {found}")
        return self.positions.build(self.width, queries.pop() if queries else None)

    def stack(self, layers: Layers, positions: Positions, between: "Between | None", place: Place) -> Stack:
        """Blocks of [mix | encode], [cross], feed."""
        depth = sum(run.times for run in runs(layers))
        shared, blocks, layer = positions.for_stack(place.role == "decoder"), list[Block | Repeat](), 0
        for run in runs(layers):
            made = list[Block]()
            for _ in range(1 if run.tied else run.times):
                made.append(self.block(run, shared, between, place._replace(layer=layer, layers=depth)))
                layer += run.times if run.tied else 1
            blocks += [Repeat(made[0], run.times)] if run.tied else made
        streams = {(run.residual or self.residual).streams for run in runs(layers)}
        if streams != {self.residual.streams}:
            raise UserError("residual kinds with one stream and with two cannot stand in one stack; use one kind")
        ends = self.residual
        return Stack(blocks, ends.enter(self.width, self.norm), ends.leave(self.width, self.norm))

    def block(self, run: LayerConfig, positions: Positions, between: "Between | None", place: Place) -> Block:
        config, parts = run.mixer or self.mixer, list[Sublayer]()
        if place.role == "encoder":
            config = config.for_encoder()
        if not config.absent:
            mixer = self.mixer_of(config, positions)
            require_role(mixer, config.kind, place.role)
            if place.role == "encoder":
                parts.append(Encode(mixer, keep=between is not None and between.bridge != "none"))
            else:
                parts.append(Mix(mixer, None if between is None else between.bridge_to(mixer, place.layer)))
        if place.role == "decoder" and between is not None:
            parts = between.add_cross(parts, config.kind, run.cross or between.cross, self.width)
        feed = run.feedforward or self.feedforward
        parts += [] if feed.absent else [Feed(feed.build(self.width))]
        if not parts:
            raise UserError("a layer has mixer=none and feedforward=none, so there is nothing in it; leave it out")
        residual = run.residual or self.residual
        parts = [Sum(*parts)] if residual.beside and len(parts) > 1 else parts
        return Block([(residual.build(self.width, self.norm, place), part) for part in parts])

    def mixer_of(self, config: MixerConfig, positions: Positions) -> Mixer:
        inside = self.positions.acts in config.positions
        return config.build(self.width, positions.for_mixer() if inside else Positions())


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(ModelConfig):
    """A decoder-only language model. tie_embeddings: input and output share one table."""

    kind: ClassVar[str] = "decoder"
    tie_embeddings: bool = True

    def assemble(self, vocab_size: int) -> Model:
        positions = self.encodings()
        embed = self.embedding(vocab_size, positions)
        stack = self.stack(self.layers, positions, None, Place())
        return Decoder(embed, stack, Head(vocab_size, self.width, embed.weight if self.tie_embeddings else None))


@dataclass(frozen=True)
class Between:
    """What joins a decoder to its encoder: the mixer that reads the source, where it stands, and the bridge."""

    cross: MixerConfig
    place: Literal["after", "before", "inside"]
    bridge: Literal["none", "state", "project"]
    encoder: Stack | None = None  # whose states are bridged

    def bridge_to(self, mixer: Mixer, layer: int) -> nn.Module | None:
        if self.bridge == "none" or self.encoder is None:
            return None
        return bridge_of(self.bridge, self.encoder, layer, mixer)

    def add_cross(self, parts: list[Sublayer], kind: str, config: MixerConfig, width: int) -> list[Sublayer]:
        if config.absent:
            return parts
        cross = Cross(config.build(width, Positions()))
        require_role(cross.mixer, config.kind, "cross")
        if self.place == "inside":
            mix = parts[0] if parts else None
            if not isinstance(mix, Mix):
                raise UserError("cross_place=inside needs a mixer to stand in; use cross_place=after")
            require_role(mix.mixer, kind, "inside")
            if grows(mix.mixer):
                raise UserError(
                    f"cross_place=inside asks a memory of constant size before each token, but that of {kind} grows; "
                    f"use model.mixer=gru, or cross_place=after"
                )
            return [Inside(mix, cross)]
        return [cross, *parts] if self.place == "before" else [*parts, cross]


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderConfig(ModelConfig):
    """An encoder, and a decoder that reads it: by default the Transformer of Vaswani et al. 2017.

    tie_embeddings: "all" = source, target and output share one table; "output" = target and output; "none".
    encoder_layers, decoder_layers: where they differ from `layers`. encoder_mixer: None: `mixer`, both ways if it
    depends on order.
    cross: the mixer between the two; None: `mixer` without a window; `none`: nothing is read.
    cross_place: after the decoder's mixer, before it, or inside its recurrence.
    bridge: whether the decoder's mixers go on from where the encoder's ended: with their "state" as it is
    (Sutskever et al. 2014), or "project"ed, tanh(W state) (Bahdanau et al. 2014).
    """

    kind: ClassVar[str] = "encoder-decoder"
    encoder_layers: Layers | None = None
    decoder_layers: Layers | None = None
    encoder_mixer: MixerConfig | None = None
    cross: MixerConfig | None = None
    cross_place: Literal["after", "before", "inside"] = "after"
    bridge: Literal["none", "state", "project"] = "none"
    tie_embeddings: Literal["all", "output", "none"] = "all"

    def __post_init__(self) -> None:
        require_layers(encoder_layers=self.encoder_layers, decoder_layers=self.decoder_layers)
        super().__post_init__()
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
        """The mixer between the two."""
        return self.cross or self.mixer.for_source()

    def mixers(self) -> Iterator[MixerConfig]:
        yield from (self.encoding(run) for run in runs(self.upper))
        yield from (run.mixer or self.mixer for run in runs(self.lower))

    def encoding(self, run: LayerConfig) -> MixerConfig:
        return (run.mixer or self.encoder_mixer or self.mixer).for_encoder()

    @property
    def upper(self) -> Layers:
        return self.layers if self.encoder_layers is None else self.encoder_layers

    @property
    def lower(self) -> Layers:
        return self.layers if self.decoder_layers is None else self.decoder_layers

    def assemble(self, vocab_size: int) -> Model:
        positions = self.encodings()
        source = self.embedding(vocab_size, positions)
        target = source if self.tie_embeddings == "all" else self.embedding(vocab_size, positions)
        above, below = (sum(run.times for run in runs(layers)) for layers in (self.upper, self.lower))
        between = Between(self.reads, self.cross_place, self.bridge)
        upper = tuple(replace(run, mixer=self.encoding(run)) for run in runs(self.upper))
        encoder = Encoder(source, self.stack(upper, positions, between, Place(0, above, "encoder", below)))
        between = Between(self.reads, self.cross_place, self.bridge, encoder.stack)
        stack = self.stack(self.lower, positions, between, Place(0, below, "decoder", above))
        head = Head(vocab_size, self.width, None if self.tie_embeddings == "none" else target.weight)
        reading = [p.mixer.by_document for b in stack.blocks for p in b.modules() if isinstance(p, Cross)]
        by_document = all(reading) and self.bridge == "none" and self.cross_place != "inside"
        return EncoderDecoder(encoder, Decoder(target, stack, head), by_document)
