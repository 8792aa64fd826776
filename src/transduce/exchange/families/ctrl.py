"""CTRL: control codes are ordinary tokens. Keskar et al. 2019, arXiv:1909.05858."""

from typing import Any, ClassVar

from transduce.exchange.families import decoders as classic
from transduce.exchange.families.decoders import Classic
from transduce.exchange.families.family import Fields
from transduce.exchange.families.matching import matches
from transduce.exchange.table import Table, layers, pair
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import SinusoidalConfig
from transduce.model.residual.norm_first import PreNormConfig

EPS = 1e-6  # of the norms in layers, whatever config.json says; the last one follows it


class CTRL(Classic):
    model_type: ClassVar[str] = "ctrl"
    architectures: ClassVar[tuple[str, ...]] = ("CTRLLMHeadModel", "CTRLModel")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        limit = classic.most(fields, "n_positions", "max_position_embeddings", default=256)
        tied = fields.flag("tie_word_embeddings", True)
        fields.only("layer_norm_epsilon", EPS)
        model = DecoderConfig(
            width=classic.either(fields, "n_embd", "hidden_size", default=1280),
            layers=classic.either(fields, "n_layer", "num_hidden_layers", default=48),
            mixer=AttentionConfig(heads=classic.either(fields, "n_head", "num_attention_heads", default=16)),
            feedforward=MLPConfig(hidden=fields.whole("dff", 8192)),
            norm=LayerNorm(eps=EPS),
            positions=SinusoidalConfig(limit=limit, order="halves"),
            init=NormalInit(),
            scale_embedding=True,
            head=classic.head_of(fields, "CTRLModel", tied, bias=True),
            tie_embeddings=tied,
        )
        for key in ("n_ctx", "from_tf", "output_past", "use_bfloat16"):
            fields.take(key)
        return model, fields.whole("vocab_size", 246534)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = classic.parts_of(model, SinusoidalConfig, scaled=True, head_bias=True)
        if parts is None or parts.norm != LayerNorm(eps=EPS) or not classic.plain(parts.mixer):
            return None
        places, feed = parts.positions, parts.feedforward
        if places != SinusoidalConfig(limit=places.limit, order="halves") or not matches(
            model.residual, PreNormConfig()
        ):
            return None
        if not feed.bias or feed.activation != "relu":
            return None
        return {
            "n_embd": model.width, "n_head": parts.mixer.heads, "n_layer": parts.layers, "vocab_size": vocab_size,
            "n_positions": places.limit, "dff": feed.hidden or 4 * model.width, "layer_norm_epsilon": EPS,
            "tie_word_embeddings": parts.tied,
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.layers, int)
        names, theirs = classic.names_of(model.residual), "transformer.h.{i}"
        block = [
            *classic.projections(
                [f"{theirs}.multi_head_attention.{x}" for x in ("Wq", "Wk", "Wv", "dense")], names.mixer
            ),
            *pair(f"{theirs}.ffn.0", f"{names.feed}.up"),
            *pair(f"{theirs}.ffn.2", f"{names.feed}.down"),
            *pair(f"{theirs}.layernorm1", names.norms[0]),
            *pair(f"{theirs}.layernorm2", names.norms[1]),
        ]
        rows = [*layers(block, model.layers), *pair("transformer.layernorm", "stack.leave")]
        return classic.table_of(model, rows, "transformer.w.weight", "transformer.")

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return (r"(^|\.)pos_encoding$",)
