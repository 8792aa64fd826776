"""GPT-2. Radford et al. 2019, Language Models are Unsupervised Multitask Learners."""

from typing import Any, ClassVar

from transduce.exchange.families.family import ACTIVATIONS, Family, Fields
from transduce.exchange.families.matching import decoder_of, matches, named
from transduce.exchange.ops import TRANSPOSED, Split, Then
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.absolute import LearnedConfig


class GPT2(Family):
    model_type: ClassVar[str] = "gpt2"
    architectures: ClassVar[tuple[str, ...]] = ("GPT2LMHeadModel", "GPT2Model")

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width, heads = fields.whole("n_embd", 768), fields.whole("n_head", 12)
        fields.only("scale_attn_by_inverse_layer_idx", False)
        fields.only("reorder_and_upcast_attn", False)  # the same numbers in exact arithmetic, in another order
        scaled = fields.flag("scale_attn_weights", True)
        model = DecoderConfig(
            width=width,
            layers=fields.whole("n_layer", 12),
            mixer=AttentionConfig(heads=heads, scale=None if scaled else 1.0),
            feedforward=MLPConfig(
                hidden=fields.whole("n_inner", 4 * width),
                activation=fields.one_of("activation_function", ACTIVATIONS, "gelu_new"),
            ),
            norm=LayerNorm(eps=fields.number("layer_norm_epsilon", 1e-5)),
            positions=LearnedConfig(limit=fields.whole("n_positions", 1024)),
            init=NormalInit(),
            scale_embedding=False,
            tie_embeddings=fields.flag("tie_word_embeddings", True),
        )
        for key in ("n_ctx", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
                    "summary_first_dropout"):  # fmt: skip
            fields.take(key)
        return model, fields.whole("vocab_size", 50257)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts = decoder_of(model, AttentionConfig, MLPConfig, LayerNorm, LearnedConfig)
        if parts is None:
            return None
        mixer, feed, norm, positions = parts.mixer, parts.feedforward, parts.norm, parts.positions
        plain = AttentionConfig(heads=mixer.heads, scale=mixer.scale, dropout=mixer.dropout)
        if not matches(mixer, plain) or mixer.scale not in (None, 1.0) or positions.offset:
            return None
        if not feed.bias or norm != LayerNorm(eps=norm.eps):
            return None
        return {
            "n_embd": model.width, "n_head": mixer.heads, "n_layer": parts.layers, "vocab_size": vocab_size,
            "n_inner": feed.hidden or 4 * model.width, "n_positions": positions.limit,
            "n_ctx": positions.limit,  # the same under the older name, by which llama.cpp reads it
            "layer_norm_epsilon": norm.eps,
            "activation_function": named(ACTIVATIONS, feed.activation), "scale_attn_weights": mixer.scale is None,
            "tie_word_embeddings": parts.tied,
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.layers, int)
        mixer, feed, width = "stack.blocks.{i}.mix", "stack.blocks.{i}.feed", model.width
        split = Split((width,) * 3)
        qkv = [(f"{mixer}.q.{x}", f"{mixer}.k.{x}", f"{mixer}.v.{x}") for x in ("weight", "bias")]
        block = [
            *pair("transformer.h.{i}.ln_1", "stack.blocks.{i}.mix_residual.norm"),
            row("transformer.h.{i}.attn.c_attn.weight", qkv[0], Then(TRANSPOSED, split)),
            row("transformer.h.{i}.attn.c_attn.bias", qkv[1], split),
            *pair("transformer.h.{i}.attn.c_proj", f"{mixer}.out", TRANSPOSED),
            *pair("transformer.h.{i}.ln_2", "stack.blocks.{i}.feed_residual.norm"),
            *pair("transformer.h.{i}.mlp.c_fc", f"{feed}.up", TRANSPOSED),
            *pair("transformer.h.{i}.mlp.c_proj", f"{feed}.down", TRANSPOSED),
        ]
        rows = [
            row("transformer.wte.weight", "embed.weight"),
            row("transformer.wpe.weight", "embed.positions.weight"),
            *layers(block, model.layers),
            *pair("transformer.ln_f", "stack.leave"),
        ]
        if not model.tie_embeddings:
            rows.append(row("lm_head.weight", "head.weight"))
        return Table(
            tuple(rows), "transformer.",
            (("lm_head.weight", "transformer.wte.weight"),) if model.tie_embeddings else (),
        )  # fmt: skip

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return (r"(^|\.)(cross)?(attn|attention)\.(masked_)?bias$",)
