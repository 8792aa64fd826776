"""BLOOM. BigScience 2022, arXiv:2211.05100, sec. 3.2."""

from typing import Any, ClassVar

from transduce.exchange.families import decoders as classic
from transduce.exchange.families.decoders import Classic
from transduce.exchange.families.family import Fields
from transduce.exchange.families.matching import matches
from transduce.exchange.ops import Fused
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.alibi import AlibiConfig
from transduce.model.residual.norm_first import PreNormConfig

QUIET = """attention_softmax_in_fp32 masked_softmax_fusion bias_dropout_fusion skip_bias_add skip_bias_add_qkv
    seq_length offset_alibi n_inner"""  # of the code it was trained with


class Bloom(Classic):
    model_type: ClassVar[str] = "bloom"
    architectures: ClassVar[tuple[str, ...]] = ("BloomForCausalLM", "BloomModel")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width = classic.either(fields, "hidden_size", "n_embed", default=64)
        tied = fields.flag("tie_word_embeddings", True)
        fields.only("apply_residual_connection_post_layernorm", False)
        fields.only("slow_but_exact", False)  # leaves out biases where pretraining_tp is above 1
        model = DecoderConfig(
            width=width,
            layers=classic.either(fields, "n_layer", "num_hidden_layers", default=2),
            mixer=AttentionConfig(heads=classic.either(fields, "n_head", "num_attention_heads", default=8)),
            feedforward=MLPConfig(hidden=4 * width, activation="gelu-tanh"),
            norm=LayerNorm(eps=fields.number("layer_norm_epsilon", 1e-5)),
            positions=AlibiConfig(),
            init=NormalInit(),
            embedding=TableConfig(norm=True),
            scale_embedding=False,
            head=classic.head_of(fields, "BloomModel", tied),
            tie_embeddings=tied,
        )
        for key in QUIET.split():
            fields.take(key)
        return model, fields.whole("vocab_size", 250880)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = classic.parts_of(model, AlibiConfig, embedding=TableConfig(norm=True))
        if parts is None or parts.positions != AlibiConfig() or not classic.is_affine(parts.norm):
            return None
        if not classic.plain(parts.mixer) or not matches(model.residual, PreNormConfig()):
            return None
        if not matches(parts.feedforward, MLPConfig(hidden=parts.feedforward.hidden, activation="gelu-tanh")):
            return None
        if parts.feedforward.hidden not in (None, 4 * model.width):
            return None
        return {
            "hidden_size": model.width, "n_head": parts.mixer.heads, "n_layer": parts.layers, "vocab_size": vocab_size,
            "layer_norm_epsilon": parts.norm.eps, "tie_word_embeddings": parts.tied,
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.mixer, AttentionConfig)
        assert isinstance(model.layers, int)
        names, mixer, theirs = classic.names_of(model.residual), model.mixer, "transformer.h.{i}"
        fused = Fused(mixer.heads, mixer.head_dim(model.width))
        block = [
            *pair(f"{theirs}.input_layernorm", names.norms[0]),
            *pair(f"{theirs}.post_attention_layernorm", names.norms[1]),
            *[
                row(
                    f"{theirs}.self_attention.query_key_value.{x}",
                    tuple(f"{names.mixer}.{y}.{x}" for y in "qkv"),
                    fused,
                )
                for x in ("weight", "bias")
            ],
            *pair(f"{theirs}.self_attention.dense", f"{names.mixer}.out"),
            *pair(f"{theirs}.mlp.dense_h_to_4h", f"{names.feed}.up"),
            *pair(f"{theirs}.mlp.dense_4h_to_h", f"{names.feed}.down"),
        ]
        ends = [
            *pair("transformer.word_embeddings_layernorm", "embed.norm"),
            *pair("transformer.ln_f", "stack.leave"),
        ]
        rows = [*ends, *layers(block, model.layers)]
        return classic.table_of(model, rows, "transformer.word_embeddings.weight", "transformer.")
