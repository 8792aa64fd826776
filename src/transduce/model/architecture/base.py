"""The part that all models share, and how blocks and stacks are built from it.

Tested in tests/model/test_ends.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import torch
from torch import nn

from transduce.config import Part
from transduce.errors import UserError, require_at_least, require_memory, sized
from transduce.model.architecture.between import Between, require_role
from transduce.model.architecture.layers import LayerConfig, Layers, expanded, require_layers, runs
from transduce.model.block import Block, Sublayer
from transduce.model.embed.embedding import Embedding, EmbeddingConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.init.init import InitConfig, Sizes, XavierInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.bidirectional import in_encoder
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.models import Model
from transduce.model.norms.norm import LayerNorm, NormConfig
from transduce.model.positions.absolute import SinusoidalConfig
from transduce.model.positions.position import Positions, PositionsConfig
from transduce.model.residual.norm_first import PreNormConfig
from transduce.model.residual.norm_last import DeepNormConfig, PostNormConfig
from transduce.model.residual.residual import Place, ResidualConfig
from transduce.model.stack import Repeat, Stack
from transduce.model.sublayers import Encode, Feed, Mix, Normed, Sum
from transduce.scalars import clipped, shown


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Part):
    """The keys of all models. The dropout of the embedding is that of the residual.

    width: features of a hidden state.
    layers: their number, or a list of runs of layers, or names of mixers such as `[delta, delta, attention] * 4`.
    mixer: moves information between positions.
    feedforward: acts on each position alone, after the mixer.
    residual: how a sublayer is added to the stream, and where the norm stands.
    norm: the normalisation of the residual.
    positions: how the order of tokens is known.
    init: the start values of the weights.
    embedding: stands before the stacks: ids to vectors.
    scale_embedding: multiply embeddings by sqrt(width).
    head: stands behind the stacks: hidden states to predictions.
    heads: more heads by name, beside `head`.
    """

    folder: ClassVar[str] = "transduce.model.architecture"
    task: ClassVar[str] = "language"  # what such a model does where nothing else is said
    conditions: ClassVar[bool] = False  # its stacks are given a condition
    width: int = 256
    layers: Layers = 3
    mixer: MixerConfig = field(default_factory=AttentionConfig)
    feedforward: FeedForwardConfig = field(default_factory=MLPConfig)
    residual: ResidualConfig = field(default_factory=PreNormConfig)
    norm: NormConfig = field(default_factory=LayerNorm)
    positions: PositionsConfig = field(default_factory=SinusoidalConfig)
    init: InitConfig = field(default_factory=XavierInit)
    embedding: EmbeddingConfig = field(default_factory=TableConfig)
    scale_embedding: bool = True
    head: HeadConfig = field(default_factory=LinearHeadConfig)
    heads: dict[str, HeadConfig] = field(default_factory=dict[str, HeadConfig], hash=False)

    def body(self) -> "ModelConfig":
        """Returns the model that a training of another kind of model starts from: without what was for its own."""
        return self

    @classmethod
    def written_out(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Returns plain data with its shorthands written out."""
        mixer: Any = data.get("mixer", AttentionConfig.kind)
        own = (
            cast("Mapping[str, Any]", mixer).get("kind", AttentionConfig.kind) if isinstance(mixer, Mapping) else mixer
        )
        if not isinstance(heads := data.get("heads", {}), Mapping):
            raise UserError(
                f"`model.heads` is {shown(heads)}, but it holds predictions by name, such as heads.pair.kind=classes; "
                f"did you mean `model.mixer.heads`?"
            )
        return {key: expanded(value, own) if key.endswith("layers") else value for key, value in data.items()}

    def __post_init__(self) -> None:
        require_at_least(1, width=self.width)
        for name, head in self.heads.items():
            if not name.isidentifier() or hasattr(nn.ModuleDict, name):
                raise UserError(f"heads.{clipped(name)} cannot have that name; use another, such as heads.pair")
            if isinstance(head, NoHeadConfig):
                raise UserError(f"heads.{name} has the kind none; leave it out")
        require_layers(layers=self.layers)
        acts = self.positions.acts
        mixers = list(self.mixers())
        for run in runs(self.layers):
            if run.positions is not None and run.positions.acts == "add":
                raise UserError(f"positions={run.positions.kind} are added to the embedding, which all layers share")
        for mixer in mixers:
            mixer.queries(self.width)
        if acts not in ("none", "add") and not any(acts in mixer.positions for mixer in mixers):
            names, what = sorted({m.kind for m in mixers}), "queries and keys" if acts == "turn" else "attention scores"
            raise UserError(
                f"positions={self.positions.kind} act on {what}, which {' and '.join(names)} have none of; "
                f"use positions=none"
            )

    def mixers(self) -> Iterator[MixerConfig]:
        """Yields the mixers of all layers, but not those between source and target."""
        yield from (run.mixer or self.mixer for run in runs(self.layers))

    def build(self, vocab_size: int, seed: int = 0) -> Model:
        """Returns the model with start values drawn from `seed`."""
        model = self.assemble(vocab_size)
        depths = [len(stack.order) for stack in model.stacks()]
        sizes = Sizes(self.width, depths[0] if len(depths) > 1 else 0, depths[-1], self.scale)
        self.init.apply(model, sizes, seed)
        return model

    def assemble(self, vocab_size: int) -> Model:
        """Returns the model without start values. Raises UserError where a size in it is beyond that of a tensor."""
        with sized("the model", "lower its width, or whatever else is large in it"):
            model = self.assembled(vocab_size)
            heads = {name: head.build(vocab_size, self.width, self.norm, None) for name, head in self.heads.items()}
            model.heads = nn.ModuleDict({name: head for name, head in heads.items() if head is not None})
            return model

    def assembled(self, vocab_size: int) -> Model:
        """Returns the same; an error of PyTorch is not translated."""
        raise AssertionError("a kind of ModelConfig defines assembled")

    def require_room(self, vocab_size: int) -> None:
        """Raises UserError unless the weights and tables fit the memory of this machine; none of them is made."""
        with torch.device("meta"):
            model = self.assemble(vocab_size)
        require_memory(sum(x.numel() for x in (*model.parameters(), *model.buffers())), "lower")

    def embed(self, vocab_size: int, positions: Positions, shared: Embedding | None = None) -> Embedding:
        """Returns the input of a stack. shared: another embedding, whose table it uses."""
        return self.embedding.build(
            vocab_size, self.width, self.norm, positions, scale=self.scale, p=self.residual.dropout, shared=shared
        )

    @property
    def scale(self) -> float:
        """Returns the factor on the vectors of tokens."""
        return self.width**0.5 if self.scale_embedding else 1.0

    def encodings(self) -> Positions:
        """Returns the positions of the whole model.

        Raises UserError if mixers that take them disagree about their queries.
        """
        takers = [mixer for mixer in self.mixers() if self.positions.acts in mixer.positions]
        queries = {taker.queries(self.width) for taker in takers}
        if len(queries) > 1:
            heads = ", ".join(f"{q.heads} heads of {q.head_dim}" for q in queries if q is not None)
            raise UserError(
                f"positions={self.positions.kind} need the same heads in all mixers, but these have {heads}"
            )
        width = self.embedding.added_at(self.width) if self.positions.acts == "add" else self.width
        return self.positions.build(width, queries.pop() if queries else None)

    def stack(self, layers: Layers, positions: Positions, between: Between | None, place: Place) -> Stack:
        """Returns blocks of [mix | encode], [cross], feed."""
        depth, causal = sum(run.times for run in runs(layers)), place.role == "decoder"
        built, blocks, layer = {self.positions: positions.for_stack(causal)}, list[Block | Repeat](), 0
        for run in runs(layers):
            group, own = list[Block](), run.positions or self.positions
            if own not in built:
                built[own] = own.build(self.width, (run.mixer or self.mixer).queries(self.width)).for_stack(causal)
            for _ in range(1 if run.tied else run.times):
                group.append(self.block(run, built[own], between, place._replace(layer=layer, layers=depth)))
                layer += run.times if run.tied else 1
            blocks += [Repeat(group[0], run.times)] if run.tied else group
        streams = {(run.residual or self.residual).streams for run in runs(layers)}
        if streams != {self.residual.streams}:
            raise UserError("residual kinds with one stream and with two cannot stand in one stack; use one kind")
        ends = self.residual
        return Stack(blocks, ends.enter(self.width, self.norm), ends.leave(self.width, self.norm))

    def block(self, run: LayerConfig, positions: Positions, between: Between | None, place: Place) -> Block:
        config, parts, modules = run.mixer or self.mixer, list[Sublayer](), dict[str, nn.Module]()
        if place.role == "encoder":
            config = in_encoder(config)
        if not config.absent:
            modules["mix"] = mixer = self.mixer_of(config, positions, run.positions or self.positions)
            require_role(mixer, config.kind, place.role)
            bridge = None if between is None else between.bridge
            if place.role == "encoder":
                parts.append(Encode(keep=bridge not in (None, "none")))
            elif between is not None and (bridged := between.bridge_to(mixer, place.layer)) is not None:
                modules["bridge"] = bridged
                parts.append(Mix(bridge="bridge"))
            else:
                parts.append(Mix())
        if place.role == "decoder" and between is not None:
            parts = between.add_cross(parts, modules, config.kind, run.cross or between.cross, self.width)
        feed = run.feedforward or self.feedforward
        if not feed.absent:
            modules["feed"] = feed.build(self.width)
            parts.append(Feed())
        if not parts:
            raise UserError("a layer has mixer=none and feedforward=none, so there is nothing in it; leave it out")
        residual = run.residual or self.residual
        if residual.conditioned and not self.conditions:
            raise UserError(
                f"residual={residual.kind} follows a condition, which model.kind={self.kind} has not; use "
                f"model.kind=denoiser, or another residual"
            )
        if residual.beside and residual.norm_each:
            parts = [Normed(part) for part in parts]
            modules |= {part.norm: self.norm.build(self.width) for part in parts}
        if residual.beside and (residual.norm_each or len(parts) > 1):
            parts = [Sum(tuple(parts))]
        if run.beside is not None:
            modules["beside"] = self.beside(run.beside, residual, place)
            parts = [*parts, Encode("beside") if place.role == "encoder" else Mix("beside")]
        joined = [(residual.build(self.width, self.norm, place), part) for part in parts]
        return Block(joined, modules, beside=run.beside is not None)

    def beside(self, config: MixerConfig, residual: ResidualConfig, place: Place) -> Mixer:
        """Returns the mixer that reads what enters a layer. A norm that stands before it would see what leaves it."""
        if not isinstance(residual, PostNormConfig | DeepNormConfig):
            raise UserError(f"beside={config.kind} joins behind a layer, but residual={residual.kind}; use post-norm")
        mixer = (in_encoder(config) if place.role == "encoder" else config).build(self.width, Positions())
        require_role(mixer, config.kind, place.role)
        return mixer

    def mixer_of(self, config: MixerConfig, positions: Positions, encoding: PositionsConfig) -> Mixer:
        return config.build(self.width, positions.for_mixer() if encoding.acts in config.positions else Positions())
