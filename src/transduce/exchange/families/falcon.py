"""Falcon: 7B, 40B, 11B and RW. Almazrouei et al. 2023, arXiv:2311.16867."""

from typing import Any, ClassVar

from transduce.errors import UserError
from transduce.exchange.families import decoders as classic
from transduce.exchange.families.decoders import Classic
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.families.matching import matches, named
from transduce.exchange.families.rope import longest, rotary, written
from transduce.exchange.ops import Fused
from transduce.exchange.table import Table, layers, pair, row
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.alibi import AlibiConfig
from transduce.model.positions.position import PositionsConfig
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.residual.norm_first import ParallelConfig, PreNormConfig
from transduce.model.residual.residual import ResidualConfig

ALIBI = AlibiConfig(scaled=True, rounded=True)


class Falcon(Classic):
    model_type: ClassVar[str] = "falcon"
    architectures: ClassVar[tuple[str, ...]] = ("FalconForCausalLM", "FalconModel")
    rank: ClassVar[int] = 60  # where GPT-NeoX says the same, it says it

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width = classic.either(fields, "hidden_size", "n_embed", default=4544)
        heads = fields.whole("num_attention_heads", 71)
        bias, tied = fields.flag("bias", False), fields.flag("tie_word_embeddings", True)
        fields.only("head_dim", max(1, width // heads))
        groups = self.groups(fields, heads)
        model = DecoderConfig(
            width=width,
            layers=fields.whole("num_hidden_layers", 32),
            mixer=AttentionConfig(heads=heads, kv_heads=None if groups == heads else groups, bias=bias),
            feedforward=MLPConfig(
                hidden=fields.whole("ffn_hidden_size", 4 * width),
                activation=fields.one_of("activation", ACTIVATIONS, "gelu"),
                bias=bias,
            ),
            residual=self.residual(fields),
            norm=LayerNorm(eps=fields.number("layer_norm_epsilon", 1e-5)),
            positions=self.positions(fields),
            init=NormalInit(),
            scale_embedding=False,
            head=classic.head_of(fields, "FalconModel", tied),
            tie_embeddings=tied,
        )
        fields.take("new_decoder_architecture")
        return model, fields.whole("vocab_size", 65024)

    def groups(self, fields: Fields, heads: int) -> int:
        stated, single = fields.whole("num_kv_heads", heads), fields.flag("multi_query", True)
        if is_new(fields):
            return stated
        if not single and stated != heads:
            raise UserError(
                f"config.json has num_kv_heads={stated} for {heads} heads without new_decoder_architecture and without "
                "multi_query, which no class computes"
            )
        return 1 if single else heads

    def residual(self, fields: Fields) -> ResidualConfig:
        new, parallel = is_new(fields), fields.flag("parallel_attn", True)
        norms = fields.take("num_ln_in_parallel_attn", 2 if new else 1)
        if norms not in (1, 2) or (norms == 2 and not new) or (new and not parallel):
            raise UserError(
                f"config.json has num_ln_in_parallel_attn={norms!r}, parallel_attn={parallel} and "
                f"new_decoder_architecture={new}, which no class computes"
            )
        return ParallelConfig(norms="each" if norms == 2 else "one") if parallel else PreNormConfig()

    def positions(self, fields: Fields) -> PositionsConfig:
        limit = fields.whole("max_position_embeddings", 2048)
        if not fields.flag("alibi", False):
            return classic.whole(rotary(fields, limit))
        for key in ("rope_parameters", "rope_theta", "rope_scaling"):
            fields.take(key)
        return ALIBI

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        parts, alibi = classic.parts_of(model, PositionsConfig), model.positions == ALIBI
        if parts is None or not classic.is_affine(parts.norm):
            return None
        mixer, places, residual = parts.mixer, parts.positions, model.residual
        if not classic.plain(mixer, bias=mixer.bias, kv_heads=mixer.kv_heads) or parts.feedforward.bias != mixer.bias:
            return None
        if not alibi and not (isinstance(places, RotaryConfig) and places.fraction == 1 and classic.turns(places)):
            return None
        parallel = isinstance(residual, ParallelConfig)
        if not matches(residual, ParallelConfig(norms=residual.norms) if parallel else PreNormConfig()):
            return None
        each, groups = residual.norm_each, mixer.kv_heads or mixer.heads
        new = each or groups not in (1, mixer.heads)
        if new and not parallel:
            return None
        return {
            "hidden_size": model.width, "num_attention_heads": mixer.heads, "num_hidden_layers": parts.layers,
            "num_kv_heads": groups, "multi_query": groups == 1, "new_decoder_architecture": new, "alibi": alibi,
            "parallel_attn": parallel, "num_ln_in_parallel_attn": 2 if each else 1, "bias": mixer.bias,
            "ffn_hidden_size": parts.feedforward.hidden or 4 * model.width, "layer_norm_epsilon": parts.norm.eps,
            "activation": named(ACTIVATIONS, parts.feedforward.activation), "tie_word_embeddings": parts.tied,
            "vocab_size": vocab_size,
            **({"rope_parameters": written(places), "max_position_embeddings": longest(places)}
               if isinstance(places, RotaryConfig) else {}),
        }  # fmt: skip

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.mixer, AttentionConfig)
        assert isinstance(model.layers, int)
        names, mixer, theirs = classic.names_of(model.residual), model.mixer, "transformer.h.{i}"
        fused, bias = Fused(mixer.kv_heads or mixer.heads, mixer.head_dim(model.width)), mixer.bias
        norms = ("ln_attn", "ln_mlp") if model.residual.norm_each else ("input_layernorm", "post_attention_layernorm")
        block = [
            *[line for x, y in zip(norms, names.norms, strict=False) for line in pair(f"{theirs}.{x}", y)],
            *[
                row(
                    f"{theirs}.self_attention.query_key_value.{x}",
                    tuple(f"{names.mixer}.{y}.{x}" for y in "qkv"),
                    fused,
                )
                for x in (("weight", "bias") if bias else ("weight",))
            ],
            *pair(f"{theirs}.self_attention.dense", f"{names.mixer}.out", bias=bias),
            *pair(f"{theirs}.mlp.dense_h_to_4h", f"{names.feed}.up", bias=bias),
            *pair(f"{theirs}.mlp.dense_4h_to_h", f"{names.feed}.down", bias=bias),
        ]
        rows = [*layers(block, model.layers), *pair("transformer.ln_f", "stack.leave")]
        return classic.table_of(model, rows, "transformer.word_embeddings.weight", "transformer.")


def is_new(fields: Fields) -> bool:
    """Says whether it is the decoder of 40B: key heads of their own number, always parallel."""
    return fields.left.get("new_decoder_architecture") is True
