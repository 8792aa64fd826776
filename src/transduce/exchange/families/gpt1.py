"""The first GPT. Radford et al. 2018, Improving Language Understanding by Generative Pre-Training."""

from collections.abc import Mapping
from typing import Any, ClassVar

from transduce.exchange.families import decoders as classic
from transduce.exchange.families.decoders import Classic
from transduce.exchange.families.family import PLACES, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.ops import TRANSPOSED, Split, Then
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.feedforward.feedforward import Activation
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.residual.norm_last import PostNormConfig

AFN: Mapping[str, Activation] = {"gelu": "gelu-tanh", "relu": "relu", "silu": "silu", "swish": "silu"}


class GPT1(Classic):
    model_type: ClassVar[str] = "openai-gpt"
    architectures: ClassVar[tuple[str, ...]] = ("OpenAIGPTLMHeadModel", "OpenAIGPTModel")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width = classic.either(fields, "n_embd", "hidden_size", default=768)
        limit = classic.most(fields, "n_positions", "max_position_embeddings", default=512)
        tied = fields.flag("tie_word_embeddings", True)
        model = DecoderConfig(
            width=width,
            layers=classic.either(fields, "n_layer", "num_hidden_layers", default=12),
            mixer=AttentionConfig(heads=classic.either(fields, "n_head", "num_attention_heads", default=12)),
            feedforward=MLPConfig(hidden=4 * width, activation=fields.one_of("afn", AFN, "gelu")),
            residual=PostNormConfig(),
            norm=LayerNorm(eps=fields.number("layer_norm_epsilon", 1e-5)),
            positions=LearnedConfig(limit=limit),
            init=NormalInit(),
            scale_embedding=False,
            head=classic.head_of(fields, "OpenAIGPTModel", tied),
            tie_embeddings=tied,
        )
        for key in ("n_ctx", "n_special", "predict_special_tokens", *classic.SUMMARY):
            fields.take(key)
        return model, fields.whole("vocab_size", 40478)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = classic.parts_of(model, LearnedConfig)
        if parts is None or parts.positions.offset or not classic.is_affine(parts.norm):
            return None
        feed = parts.feedforward
        if not feed.bias or feed.hidden not in (None, 4 * model.width) or feed.activation not in AFN.values():
            return None
        if not classic.plain(parts.mixer) or not matches(model.residual, PostNormConfig()):
            return None
        return {
            "n_embd": model.width, "n_head": parts.mixer.heads, "n_layer": parts.layers, "vocab_size": vocab_size,
            "n_positions": parts.positions.limit, "afn": named(AFN, feed.activation),
            "layer_norm_epsilon": parts.norm.eps, "tie_word_embeddings": parts.tied,
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.layers, int)
        names, theirs, split = classic.names_of(model.residual), "transformer.h.{i}", Split((model.width,) * 3)
        weight, bias = (tuple(f"{names.mixer}.{y}.{x}" for y in "qkv") for x in ("weight", "bias"))
        block = [
            row(f"{theirs}.attn.c_attn.weight", weight, Then(TRANSPOSED, split)),
            row(f"{theirs}.attn.c_attn.bias", bias, split),
            *pair(f"{theirs}.attn.c_proj", f"{names.mixer}.out", TRANSPOSED),
            *pair(f"{theirs}.ln_1", names.norms[0]),
            *pair(f"{theirs}.mlp.c_fc", f"{names.feed}.up", TRANSPOSED),
            *pair(f"{theirs}.mlp.c_proj", f"{names.feed}.down", TRANSPOSED),
            *pair(f"{theirs}.ln_2", names.norms[1]),
        ]
        rows = [row("transformer.positions_embed.weight", "embed.positions.weight"), *layers(block, model.layers)]
        return classic.table_of(model, rows, "transformer.tokens_embed.weight", "transformer.")

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return (r"(^|\.)attn\.bias$", PLACES)
