"""GPT-J. Wang & Komatsuzaki 2021, GPT-J-6B."""

from typing import Any, ClassVar

from transduce.errors import UserError
from transduce.exchange.families import decoders as classic
from transduce.exchange.families.decoders import Classic
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.table import Table, layers, pair
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.residual.norm_first import ParallelConfig


class GPTJ(Classic):
    model_type: ClassVar[str] = "gptj"
    architectures: ClassVar[tuple[str, ...]] = ("GPTJForCausalLM", "GPTJModel")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width = classic.either(fields, "n_embd", "hidden_size", default=4096)
        heads = classic.either(fields, "n_head", "num_attention_heads", default=16)
        size, turned = max(1, width // heads), fields.whole("rotary_dim", 64)
        if turned % 2 or turned > size:
            raise UserError(f"config.json has rotary_dim={turned}; it must be even, and at most {size}, that of a head")
        tied = fields.flag("tie_word_embeddings", False)
        model = DecoderConfig(
            width=width,
            layers=classic.either(fields, "n_layer", "num_hidden_layers", default=28),
            mixer=AttentionConfig(heads=heads, bias=False),
            feedforward=MLPConfig(
                hidden=fields.whole("n_inner", 4 * width),
                activation=fields.one_of("activation_function", ACTIVATIONS, "gelu_new"),
            ),
            residual=ParallelConfig(),
            norm=LayerNorm(eps=fields.number("layer_norm_epsilon", 1e-5)),
            positions=RotaryConfig(
                limit=classic.most(fields, "n_positions", "max_position_embeddings", default=2048),
                fraction=classic.part_of(turned, size),
                interleaved=True,
            ),
            init=NormalInit(),
            scale_embedding=False,
            head=classic.head_of(fields, "GPTJModel", tied, bias=True),
            tie_embeddings=tied,
        )
        fields.only("rotary", True)
        fields.only("scale_attn_weights", True)
        for key in ("n_ctx", *classic.SUMMARY):
            fields.take(key)
        return model, fields.whole("vocab_size", 50400)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = classic.parts_of(model, RotaryConfig, head_bias=True)
        if parts is None or not classic.is_affine(parts.norm) or not parts.feedforward.bias:
            return None
        places = parts.positions
        if places != RotaryConfig(limit=places.limit, fraction=places.fraction, interleaved=True):
            return None
        if not classic.plain(parts.mixer, bias=False) or not matches(model.residual, ParallelConfig()):
            return None
        return {
            "n_embd": model.width, "n_head": parts.mixer.heads, "n_layer": parts.layers, "vocab_size": vocab_size,
            "n_inner": parts.feedforward.hidden or 4 * model.width, "n_positions": places.limit,
            "rotary_dim": classic.turned_of(places, model.width // parts.mixer.heads),
            "activation_function": named(ACTIVATIONS, parts.feedforward.activation),
            "layer_norm_epsilon": parts.norm.eps, "tie_word_embeddings": parts.tied,
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.layers, int)
        names, theirs = classic.names_of(model.residual), "transformer.h.{i}"
        block = [
            *pair(f"{theirs}.ln_1", names.norms[0]),
            *classic.projections([f"{theirs}.attn.{x}_proj" for x in ("q", "k", "v", "out")], names.mixer, bias=False),
            *pair(f"{theirs}.mlp.fc_in", f"{names.feed}.up"),
            *pair(f"{theirs}.mlp.fc_out", f"{names.feed}.down"),
        ]
        rows = [*layers(block, model.layers), *pair("transformer.ln_f", "stack.leave")]
        return classic.table_of(model, rows, "transformer.wte.weight", "transformer.")

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return (r"(^|\.)attn\.((masked_)?bias|embed_positions)$",)
