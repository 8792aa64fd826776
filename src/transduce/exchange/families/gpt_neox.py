"""GPT-NeoX and Pythia. Black et al. 2022, arXiv:2204.06745; Biderman et al. 2023, arXiv:2304.01373."""

from typing import Any, ClassVar

from transduce.exchange.families import decoders as classic
from transduce.exchange.families.decoders import Classic
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.families.rope import longest
from transduce.exchange.ops import Fused
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.residual.norm_first import ParallelConfig, PreNormConfig


class GPTNeoX(Classic):
    model_type: ClassVar[str] = "gpt_neox"
    architectures: ClassVar[tuple[str, ...]] = ("GPTNeoXForCausalLM", "GPTNeoXModel")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width, heads = fields.whole("hidden_size", 6144), fields.whole("num_attention_heads", 64)
        base, part = fields.number("rotary_emb_base", 10_000.0), fields.number("rotary_pct", 0.25)
        fields.only("rope_theta", base)
        fields.only("partial_rotary_factor", part)
        limit = fields.whole("max_position_embeddings", 2048)
        parallel = fields.flag("use_parallel_residual", True)
        tied = fields.flag("tie_word_embeddings", False)
        model = DecoderConfig(
            width=width,
            layers=fields.whole("num_hidden_layers", 44),
            mixer=AttentionConfig(heads=heads, bias=fields.flag("attention_bias", True)),
            feedforward=MLPConfig(
                hidden=fields.whole("intermediate_size", 24576),
                activation=fields.one_of("hidden_act", ACTIVATIONS, "gelu"),
            ),
            residual=ParallelConfig(norms="each") if parallel else PreNormConfig(),
            norm=LayerNorm(eps=fields.number("layer_norm_eps", 1e-5)),
            positions=classic.rotary_of(fields, limit, max(1, width // heads), base, part),
            init=NormalInit(),
            scale_embedding=False,
            head=classic.head_of(fields, "GPTNeoXModel", tied),
            tie_embeddings=tied,
        )
        return model, fields.whole("vocab_size", 50432)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = classic.parts_of(model, RotaryConfig)
        if parts is None or not classic.is_affine(parts.norm) or not parts.feedforward.bias:
            return None
        places, parallel = parts.positions, matches(model.residual, ParallelConfig(norms="each"))
        if not parallel and not matches(model.residual, PreNormConfig()):
            return None
        if not classic.plain(parts.mixer, bias=parts.mixer.bias) or not classic.turns(places):
            return None
        return {
            "hidden_size": model.width, "num_attention_heads": parts.mixer.heads, "num_hidden_layers": parts.layers,
            "intermediate_size": parts.feedforward.hidden or 4 * model.width, "layer_norm_eps": parts.norm.eps,
            "hidden_act": named(ACTIVATIONS, parts.feedforward.activation), "attention_bias": parts.mixer.bias,
            "rope_parameters": classic.rope_parameters(places, model.width // parts.mixer.heads),
            "max_position_embeddings": longest(places),
            "use_parallel_residual": parallel, "tie_word_embeddings": parts.tied, "vocab_size": vocab_size,
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.mixer, AttentionConfig)
        assert isinstance(model.layers, int)
        names, mixer, theirs = classic.names_of(model.residual), model.mixer, "gpt_neox.layers.{i}"
        fused = Fused(mixer.heads, mixer.head_dim(model.width))
        block = [
            *pair(f"{theirs}.input_layernorm", names.norms[0]),
            *pair(f"{theirs}.post_attention_layernorm", names.norms[1]),
            *[
                row(f"{theirs}.attention.query_key_value.{x}", tuple(f"{names.mixer}.{y}.{x}" for y in "qkv"), fused)
                for x in (("weight", "bias") if mixer.bias else ("weight",))
            ],
            *pair(f"{theirs}.attention.dense", f"{names.mixer}.out", bias=mixer.bias),
            *pair(f"{theirs}.mlp.dense_h_to_4h", f"{names.feed}.up"),
            *pair(f"{theirs}.mlp.dense_4h_to_h", f"{names.feed}.down"),
        ]
        rows = [*layers(block, model.layers), *pair("gpt_neox.final_layer_norm", "stack.leave")]
        return classic.table_of(model, rows, "gpt_neox.embed_in.weight", "gpt_neox.", head="embed_out")

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return (r"(^|\.)attention\.(masked_)?bias$", *super().silent(model))
