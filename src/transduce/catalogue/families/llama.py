"""LLaMA, and those of its shape: Mistral (a window), Qwen2 (biases), Qwen3 (queries and keys normalised).

Touvron et al. 2023, arXiv:2302.13971; Jiang et al. 2023, arXiv:2310.06825; Qwen 2024, arXiv:2407.10671; Qwen 2025,
arXiv:2505.09388.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from transduce.catalogue.families.family import ACTIVATIONS, Family, Fields
from transduce.catalogue.families.written import decoder_of, matches, named
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import RMSNorm
from transduce.model.positions.rotary import RotaryConfig
from transduce.weights.table import Table, layers, pair, row

MOST = 1 << 21  # positions, whose angles are held in a table


class Llama(Family):
    model_type: ClassVar[str] = "llama"
    architectures: ClassVar[tuple[str, ...]] = ("LlamaForCausalLM", "LlamaModel")
    kv_heads: ClassVar[int | None] = None  # where config.json says nothing; None: as many as heads
    head_dim: ClassVar[int | None] = None  # likewise; None: width / heads
    limit: ClassVar[int] = 2048

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        width, heads = fields.whole("hidden_size", 4096), fields.whole("num_attention_heads", 32)
        depth = fields.whole("num_hidden_layers", 32)
        norm = RMSNorm(eps=fields.number("rms_norm_eps", 1e-6))
        hidden = fields.whole("intermediate_size", 11008)
        mixer = self.mixer(fields, heads, norm, depth)
        size = fields.whole("head_dim", self.head_dim or max(1, width // heads))
        if size * heads != width:
            mixer = replace(mixer, size=size)
        model = DecoderConfig(
            width=width,
            layers=depth,
            mixer=mixer,
            feedforward=GatedConfig(
                hidden=hidden,
                activation=fields.one_of("hidden_act", ACTIVATIONS, "silu"),
                bias=fields.flag("mlp_bias", False),
            ),
            norm=norm,
            positions=rotary(fields, fields.whole("max_position_embeddings", self.limit)),
            init=NormalInit(),
            scale_embedding=False,
            tie_embeddings=fields.flag("tie_word_embeddings", False),
        )
        return model, fields.whole("vocab_size", 32000)

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm, depth: int) -> AttentionConfig:
        return AttentionConfig(
            heads=heads, kv_heads=self.groups(fields, heads), bias=fields.flag("attention_bias", False)
        )

    def groups(self, fields: Fields, heads: int) -> int | None:
        groups = fields.whole("num_key_value_heads", self.kv_heads or heads)
        return None if groups == heads else groups

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        found = decoder_of(model, AttentionConfig, GatedConfig, RMSNorm, RotaryConfig)
        if found is None or found.norm.part != 1.0 or found.norm.offset:
            return None
        mixer, feed, places = found.mixer, found.feedforward, found.positions
        own = self.written(mixer, found.norm, found.layers)
        if own is None or places.fraction != 1.0 or places.interleaved or (feed.bias and "mlp_bias" not in own):
            return None
        return {
            "hidden_size": model.width, "num_attention_heads": mixer.heads, "num_hidden_layers": found.layers,
            "num_key_value_heads": mixer.kv_heads or mixer.heads, "head_dim": mixer.head_dim(model.width),
            "intermediate_size": feed.hidden or -(-8 * model.width // 24) * 8, "rms_norm_eps": found.norm.eps,
            "hidden_act": named(ACTIVATIONS, feed.activation), "max_position_embeddings": places.limit,
            "rope_parameters": written(places), "tie_word_embeddings": found.tied, "vocab_size": vocab_size,
            **own, **({"mlp_bias": feed.bias} if "mlp_bias" in own else {}),
        }  # fmt: skip

    def written(self, mixer: AttentionConfig, norm: RMSNorm, depth: int) -> dict[str, Any] | None:
        """What config.json says of attention, beyond heads; None: it cannot say this."""
        plain = AttentionConfig(heads=mixer.heads, kv_heads=mixer.kv_heads, size=mixer.size, bias=mixer.bias)
        return {"attention_bias": mixer.bias, "mlp_bias": False} if matches(mixer, plain) else None

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, DecoderConfig)
        assert isinstance(model.layers, int)
        assert isinstance(model.mixer, AttentionConfig)
        assert isinstance(model.feedforward, GatedConfig)
        theirs, block, own = "model.layers.{i}", "stack.blocks.{i}", model.mixer
        mixer, feed = f"{block}.parts.0.mixer", f"{block}.parts.1.feedforward"
        out = own.bias if own.out_bias is None else own.out_bias
        rows = [
            *pair(f"{theirs}.input_layernorm", f"{block}.residuals.0.norm", bias=False),
            *(line for x in "qkv" for line in pair(f"{theirs}.self_attn.{x}_proj", f"{mixer}.{x}", bias=own.bias)),
            *pair(f"{theirs}.self_attn.o_proj", f"{mixer}.out", bias=out),
            *pair(f"{theirs}.post_attention_layernorm", f"{block}.residuals.1.norm", bias=False),
        ]
        for x in ("gate", "up", "down"):
            rows += pair(f"{theirs}.mlp.{x}_proj", f"{feed}.{x}", bias=model.feedforward.bias)
        if own.qk_norm is not None:
            rows += [row(f"{theirs}.self_attn.{x}_norm.weight", f"{mixer}.{x}_norm.weight") for x in "qk"]
        ends = [row("model.embed_tokens.weight", "embed.weight"), *pair("model.norm", "stack.leave", bias=False)]
        if not model.tie_embeddings:
            ends.append(row("lm_head.weight", "head.weight"))
        return Table(
            (*ends, *layers(rows, model.layers)), "model.", (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
            (("lm_head.weight", "model.embed_tokens.weight"),) if model.tie_embeddings else (),
        )  # fmt: skip


class Mistral(Llama):
    model_type = "mistral"
    architectures = ("MistralForCausalLM", "MistralModel")
    kv_heads = 8
    limit = 4096 * 32

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm, depth: int) -> AttentionConfig:
        window = fields.left.pop("sliding_window", 4096)
        if window is not None and (not isinstance(window, int) or window < 1):
            raise UserError(f"config.json has sliding_window={window!r}; it must be a whole number, or null")
        return AttentionConfig(heads=heads, kv_heads=self.groups(fields, heads), window=window, bias=False)

    def written(self, mixer: AttentionConfig, norm: RMSNorm, depth: int) -> dict[str, Any] | None:
        plain = AttentionConfig(
            heads=mixer.heads, kv_heads=mixer.kv_heads, size=mixer.size, window=mixer.window, bias=False
        )
        return {"sliding_window": mixer.window} if matches(mixer, plain) else None


class Qwen2(Llama):
    model_type = "qwen2"
    architectures = ("Qwen2ForCausalLM", "Qwen2Model")
    kv_heads = 32
    limit = 32768

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm, depth: int) -> AttentionConfig:
        whole(fields, depth)
        return AttentionConfig(heads=heads, kv_heads=self.groups(fields, heads), out_bias=False)

    def written(self, mixer: AttentionConfig, norm: RMSNorm, depth: int) -> dict[str, Any] | None:
        plain = AttentionConfig(heads=mixer.heads, kv_heads=mixer.kv_heads, size=mixer.size, out_bias=False)
        return {"use_sliding_window": False} if matches(mixer, plain) else None


class Qwen3(Llama):
    model_type = "qwen3"
    architectures = ("Qwen3ForCausalLM", "Qwen3Model")
    kv_heads = 32
    head_dim = 128
    limit = 32768

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm, depth: int) -> AttentionConfig:
        whole(fields, depth)
        groups, bias = self.groups(fields, heads), fields.flag("attention_bias", False)
        return AttentionConfig(heads=heads, kv_heads=groups, bias=bias, qk_norm=norm)

    def written(self, mixer: AttentionConfig, norm: RMSNorm, depth: int) -> dict[str, Any] | None:
        plain = AttentionConfig(
            heads=mixer.heads, kv_heads=mixer.kv_heads, size=mixer.size, bias=mixer.bias, qk_norm=norm
        )
        return {"attention_bias": mixer.bias, "use_sliding_window": False} if matches(mixer, plain) else None


def whole(fields: Fields, depth: int) -> None:
    """Take the keys of windows, which are known here only where there are none."""
    windowed, _, _ = (fields.take(key) for key in ("use_sliding_window", "sliding_window", "max_window_layers"))
    kinds = fields.take("layer_types", ["full_attention"] * depth)
    if windowed or kinds != ["full_attention"] * depth:
        raise UserError("config.json has windows in some layers (use_sliding_window, layer_types), not known here yet")


def rotary(fields: Fields, limit: int) -> RotaryConfig:
    """The positions of rope_parameters, or of rope_theta and rope_scaling as they were before."""
    if limit > MOST:
        raise UserError(f"config.json has max_position_embeddings={limit:,}; the most that is read here is {MOST:,}")
    base = fields.number("rope_theta", 10_000.0)
    found = fields.take("rope_parameters", fields.take("rope_scaling", {}))
    fields.take("rope_scaling")
    if not isinstance(found, dict):
        raise UserError(f"config.json has rope_parameters={found!r}; it must be an object")
    left = dict(cast("dict[str, Any]", found))
    kind = left.pop("rope_type", left.pop("type", "default"))
    left.pop("type", None)
    inner = Fields(left)
    base = inner.number("rope_theta", base)
    if kind not in ("default", "linear"):
        raise UserError(f"config.json has rope_type={kind!r}; known here are default and linear")
    scaling = inner.number("factor", 1.0) if kind == "linear" else 1.0
    inner.only("partial_rotary_factor", 1.0)
    inner.done()
    return RotaryConfig(base=base, limit=limit, scaling=scaling)


def written(places: RotaryConfig) -> Mapping[str, Any]:
    if places.scaling == 1.0:
        return {"rope_type": "default", "rope_theta": places.base}
    return {"rope_type": "linear", "rope_theta": places.base, "factor": places.scaling}
