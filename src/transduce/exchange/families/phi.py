"""Phi-1, Phi-1.5 and Phi-2. Gunasekar et al. 2023, arXiv:2306.11644; Li et al. 2023, arXiv:2309.05463."""

from typing import Any, ClassVar

from transduce.exchange.families import decoders as classic
from transduce.exchange.families.decoders import Classic
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.families.rope import longest
from transduce.exchange.table import Table, layers, pair
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.residual.norm_first import ParallelConfig


class Phi(Classic):
    model_type: ClassVar[str] = "phi"
    architectures: ClassVar[tuple[str, ...]] = ("PhiForCausalLM", "PhiModel")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width, heads = fields.whole("hidden_size", 2048), fields.whole("num_attention_heads", 32)
        groups, size = fields.whole("num_key_value_heads", heads), max(1, width // heads)
        base, part = fields.number("rope_theta", 10_000.0), fields.number("partial_rotary_factor", 0.5)
        limit = fields.whole("max_position_embeddings", 2048)
        norm = LayerNorm(eps=fields.number("layer_norm_eps", 1e-5))
        fields.only("head_dim", size)
        tied = fields.flag("tie_word_embeddings", False)
        model = DecoderConfig(
            width=width,
            layers=fields.whole("num_hidden_layers", 24),
            mixer=AttentionConfig(
                heads=heads,
                kv_heads=None if groups == heads else groups,
                qk_norm=norm if fields.flag("qk_layernorm", False) else None,
            ),
            feedforward=MLPConfig(
                hidden=fields.whole("intermediate_size", 8192),
                activation=fields.one_of("hidden_act", ACTIVATIONS, "gelu_new"),
            ),
            residual=ParallelConfig(),
            norm=norm,
            positions=classic.rotary_of(fields, limit, size, base, part),
            init=NormalInit(),
            scale_embedding=False,
            head=classic.head_of(fields, "PhiModel", tied, bias=True),
            tie_embeddings=tied,
        )
        return model, fields.whole("vocab_size", 51200)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = classic.parts_of(model, RotaryConfig, head_bias=True)
        if parts is None or not classic.is_affine(parts.norm) or not parts.feedforward.bias:
            return None
        mixer, norm, places = parts.mixer, parts.norm, parts.positions
        if not matches(model.residual, ParallelConfig()) or not classic.turns(places):
            return None
        if not classic.plain(mixer, kv_heads=mixer.kv_heads, qk_norm=None if mixer.qk_norm is None else norm):
            return None
        return {
            "hidden_size": model.width, "num_attention_heads": mixer.heads, "num_hidden_layers": parts.layers,
            "num_key_value_heads": mixer.kv_heads or mixer.heads, "qk_layernorm": mixer.qk_norm is not None,
            "intermediate_size": parts.feedforward.hidden or 4 * model.width, "layer_norm_eps": norm.eps,
            "hidden_act": named(ACTIVATIONS, parts.feedforward.activation), "tie_word_embeddings": parts.tied,
            "rope_parameters": classic.rope_parameters(places, model.width // mixer.heads),
            "max_position_embeddings": longest(places),
            "vocab_size": vocab_size,
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.mixer, AttentionConfig)
        assert isinstance(model.layers, int)
        names, theirs = classic.names_of(model.residual), "model.layers.{i}"
        block = [
            *pair(f"{theirs}.input_layernorm", names.norms[0]),
            *classic.projections(
                [f"{theirs}.self_attn.{x}" for x in ("q_proj", "k_proj", "v_proj", "dense")], names.mixer
            ),
            *pair(f"{theirs}.mlp.fc1", f"{names.feed}.up"),
            *pair(f"{theirs}.mlp.fc2", f"{names.feed}.down"),
        ]
        if model.mixer.qk_norm is not None:
            block += pair(f"{theirs}.self_attn.q_layernorm", f"{names.mixer}.q_norm")
            block += pair(f"{theirs}.self_attn.k_layernorm", f"{names.mixer}.k_norm")
        rows = [*layers(block, model.layers), *pair("model.final_layernorm", "stack.leave")]
        return classic.table_of(model, rows, "model.embed_tokens.weight", "model.")
