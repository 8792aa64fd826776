"""DeBERTa, its second version, whose class also reads the third, and the first.

He et al. 2020, arXiv:2006.03654; 2021, arXiv:2111.09543.
"""

from typing import Any, ClassVar

from transduce.errors import UserError
from transduce.exchange.families.disentangled import (
    BESIDE,
    HEAD,
    NEWER,
    RENAMED,
    SILENT,
    UNREAD,
    Parts,
    begin,
    convolution,
    embedding,
    found_in,
    laid,
    number,
    terms,
)
from transduce.exchange.families.encoding import (
    AFTER_FEED,
    AFTER_MIXER,
    ENDINGS,
    FEED,
    MIXER,
    NO_HEAD,
    masked_head,
    masked_or_none,
    no_decoder,
)
from transduce.exchange.families.family import ACTIVATIONS, Family, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.ops import Fused, Taps
from transduce.exchange.table import Row, Table, layers, pair, row
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.transform import TransformHeadConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.convolution import ConvolutionConfig
from transduce.model.mixers.disentangled import DisentangledConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.positions.disentangled import RelativeTableConfig
from transduce.model.positions.position import NoPositionsConfig
from transduce.model.residual.norm_last import PostNormConfig


class DebertaV2(Family):
    """The head of `legacy=false` computes the same, under other names; it is written as that of `legacy=true`."""

    model_type: ClassVar[str] = "deberta-v2"
    architectures: ClassVar[tuple[str, ...]] = ("DebertaV2ForMaskedLM", "DebertaV2Model")
    vocab_size: ClassVar[int] = 128100
    shape: ClassVar[tuple[int, int, int, int]] = (1536, 24, 24, 6144)  # width, layers, heads, hidden by default

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        no_decoder(fields)
        for key in ("pooler_dropout", "pooler_hidden_act", "pooler_hidden_size"):
            fields.take(key)
        width, depth = fields.whole("hidden_size", self.shape[0]), fields.whole("num_hidden_layers", self.shape[1])
        heads = fields.whole("num_attention_heads", self.shape[2])
        activation = fields.one_of("hidden_act", ACTIVATIONS, "gelu")
        fields.only("attention_head_size", width // heads)
        size, types = fields.whole("embedding_size", width), number(fields, "type_vocab_size")
        norm, limit = LayerNorm(eps=fields.number("layer_norm_eps", 1e-7)), fields.whole("max_position_embeddings", 512)
        table, beside = self.distances(fields, limit, norm), self.convolution(fields)
        absolute = LearnedConfig(limit=limit) if fields.flag("position_biased_input", True) else None
        legacy = fields.flag("legacy", not fields.holds(f"{NEWER}.bias"))
        tied = fields.flag("tie_word_embeddings", True) or not legacy
        headless = fields.architecture == self.architectures[1] and not fields.holds("cls.predictions.bias")
        if "architectures" not in fields.data:  # as in the published files
            headless = legacy and not fields.holds("cls.predictions.bias")
        if not headless and not legacy and size != width:
            raise UserError(f"config.json has legacy=false, whose head is as wide as the model, but {size} embeddings")
        size = None if size == width else size
        head = TransformHeadConfig(activation=activation, size=None if tied else size)
        model = EncoderConfig(
            width=width,
            layers=laid(depth, None if absolute is None else table, beside),
            mixer=self.mixer(fields, heads),
            feedforward=MLPConfig(hidden=fields.whole("intermediate_size", self.shape[3]), activation=activation),
            residual=PostNormConfig(),
            norm=norm,
            positions=absolute or table or NoPositionsConfig(),
            init=NormalInit(),
            embedding=embedding(size, types),
            scale_embedding=False,
            head=NO_HEAD if headless else head,
            tie_embeddings=tied,
        )
        return model, fields.whole("vocab_size", self.vocab_size)

    def mixer(self, fields: Fields, heads: int) -> DisentangledConfig:
        return DisentangledConfig(heads=heads, shared=fields.flag("share_att_key", False), **terms(fields))

    def distances(self, fields: Fields, limit: int, norm: LayerNorm) -> RelativeTableConfig | None:
        """Returns the table of distances, if the layers have one."""
        reach, buckets = number(fields, "max_relative_positions", -1), number(fields, "position_buckets", -1)
        names = {"none": None, "layer_norm": norm}
        normed = fields.one_of("norm_rel_ebd", names, "none")
        if not fields.flag("relative_attention", False):
            if normed is not None:
                raise UserError("config.json has norm_rel_ebd, a norm of distances, but no relative_attention")
            return None
        return RelativeTableConfig(max_distance=max(reach, 0) or limit, buckets=max(buckets, 0) or None, norm=normed)

    def convolution(self, fields: Fields) -> ConvolutionConfig | None:
        """Returns what stands beside the first layer."""
        kernel, activation = number(fields, "conv_kernel_size"), fields.one_of("conv_act", BESIDE, "tanh")
        fields.only("conv_groups", 1)
        if kernel and kernel % 2 == 0:
            raise UserError(f"config.json has conv_kernel_size={kernel}; an even one has no token in its middle")
        return convolution(kernel, activation) if kernel else None

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = found_in(model)
        if parts is None:
            return None
        model, a, f, n, e, table, absolute, beside, depth = parts
        own = self.written(a, table, beside, n)
        if own is None or e != embedding(e.size, e.types) or e.size == model.width or not (f.bias and n.bias):
            return None
        if f.activation not in ACTIVATIONS.values() or not masked_or_none(model, f.activation, e.size):
            return None
        reach = own.get("max_relative_positions", 512)
        return {
            "hidden_size": model.width, "num_hidden_layers": depth, "num_attention_heads": a.heads,
            "intermediate_size": f.hidden or 4 * model.width, "hidden_act": named(ACTIVATIONS, f.activation),
            "max_position_embeddings": reach if absolute is None else absolute.limit,
            "type_vocab_size": e.types, "layer_norm_eps": n.eps, "position_biased_input": absolute is not None,
            "relative_attention": table is not None, "legacy": True, "vocab_size": vocab_size,
            "pos_att_type": [name for name, there in (("c2p", a.c2p), ("p2c", a.p2c)) if there],
            "tie_word_embeddings": model.tie_embeddings, **({"embedding_size": e.size} if e.size else {}), **own,
        }  # fmt: skip

    def written(
        self, mixer: DisentangledConfig, table: RelativeTableConfig | None, beside: ConvolutionConfig | None,
        norm: LayerNorm,
    ) -> dict[str, Any] | None:  # fmt: skip
        """Returns the keys that only this version has (None: it cannot express the parts)."""
        plain = DisentangledConfig(heads=mixer.heads, c2p=mixer.c2p, p2c=mixer.p2c, shared=mixer.shared)
        own: dict[str, Any] = {"share_att_key": mixer.shared}
        if not matches(mixer, plain) or (table is not None and table.norm not in (None, norm)):
            return None
        if table is not None:
            own |= {"max_relative_positions": table.max_distance, "position_buckets": table.buckets or -1}
            own["norm_rel_ebd"] = "none" if table.norm is None else "layer_norm"
        if beside is not None:
            if beside != convolution(beside.kernel, beside.activation) or not beside.kernel % 2:
                return None
            own |= {"conv_kernel_size": beside.kernel, "conv_act": named(BESIDE, beside.activation)}
        return own

    def architecture(self, model: ModelConfig) -> str:
        return self.architectures[model.head == NO_HEAD]

    def table(self, model: ModelConfig) -> Table:
        parts = found_in(model)
        assert parts is not None
        theirs = "deberta.encoder.layer.{i}"
        block = [
            *self.maps(f"{theirs}.attention.self", parts),
            *pair(f"{theirs}.attention.output.dense", f"{MIXER}.out"),
            *pair(f"{theirs}.attention.output.LayerNorm", AFTER_MIXER),
            *pair(f"{theirs}.intermediate.dense", f"{FEED}.up"),
            *pair(f"{theirs}.output.dense", f"{FEED}.down"),
            *pair(f"{theirs}.output.LayerNorm", AFTER_FEED),
        ]
        rows, copies = [*begin(parts), *layers(block, parts.depth)], list[tuple[str, str]]()
        if parts.table is not None:
            rows.append(row("deberta.encoder.rel_embeddings.weight", f"{MIXER}.positions.weight").at(0))
            if parts.table.norm is not None:
                rows += layers(pair("deberta.encoder.LayerNorm", f"{MIXER}.positions.norm"), 1)
        if parts.beside is not None:
            value = "stack.blocks.0.beside.value"
            rows += pair("deberta.encoder.conv.conv", value, Taps(parts.beside.kernel))
            rows += pair("deberta.encoder.conv.LayerNorm", "stack.blocks.0.beside_residual.norm")
        bare = parts.model.head == NO_HEAD
        if not bare:
            head, copies = masked_head(HEAD, "deberta", parts.model)
            rows += head
        return Table(tuple(rows), "deberta.", tuple(copies), bare, (*ENDINGS, *RENAMED))

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        bare = getattr(model, "head", None) == NO_HEAD
        return (*SILENT, *(UNREAD if bare else ()))

    def maps(self, theirs: str, parts: Parts) -> list[Row]:
        """Returns the rows of queries, keys and values."""
        names, own = {"query_proj": "q", "key_proj": "k", "value_proj": "v"}, parts.own_maps
        names |= {name: ours for name, ours in (("pos_key_proj", "pos_k"), ("pos_query_proj", "pos_q")) if ours in own}
        return [one for name, ours in names.items() for one in pair(f"{theirs}.{name}", f"{MIXER}.{ours}")]


class Deberta(DebertaV2):
    """Queries, keys and values in one matrix, without a bias of keys; no buckets, no norm of the table."""

    model_type = "deberta"
    architectures = ("DebertaForMaskedLM", "DebertaModel")
    vocab_size = 50265
    shape = (768, 12, 12, 3072)

    def mixer(self, fields: Fields, heads: int) -> DisentangledConfig:
        fields.only("talking_head", False)
        return DisentangledConfig(heads=heads, shared=False, key_bias=False, **terms(fields))

    def distances(self, fields: Fields, limit: int, norm: LayerNorm) -> RelativeTableConfig | None:
        reach = number(fields, "max_relative_positions", -1)
        table = RelativeTableConfig(max_distance=max(reach, 0) or limit, norm=None)
        return table if fields.flag("relative_attention", False) else None

    def convolution(self, fields: Fields) -> ConvolutionConfig | None:
        return None

    def written(
        self, mixer: DisentangledConfig, table: RelativeTableConfig | None, beside: ConvolutionConfig | None,
        norm: LayerNorm,
    ) -> dict[str, Any] | None:  # fmt: skip
        plain = DisentangledConfig(heads=mixer.heads, c2p=mixer.c2p, p2c=mixer.p2c, shared=False, key_bias=False)
        if not matches(mixer, plain) or beside is not None:
            return None
        if table is None:
            return {}
        reach = table.max_distance
        return (
            {"max_relative_positions": reach} if table == RelativeTableConfig(max_distance=reach, norm=None) else None
        )

    def maps(self, theirs: str, parts: Parts) -> list[Row]:
        heads, width = parts.mixer.heads, parts.model.width
        rows = [
            row(f"{theirs}.in_proj.weight", tuple(f"{MIXER}.{x}.weight" for x in "qkv"), Fused(heads, width // heads)),
            row(f"{theirs}.q_bias", f"{MIXER}.q.bias"),
            row(f"{theirs}.v_bias", f"{MIXER}.v.bias"),
        ]
        rows += pair(f"{theirs}.pos_proj", f"{MIXER}.pos_k", bias=False) if "pos_k" in parts.own_maps else []
        return rows + (pair(f"{theirs}.pos_q_proj", f"{MIXER}.pos_q") if "pos_q" in parts.own_maps else [])
