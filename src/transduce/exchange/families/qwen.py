"""Qwen2 (biases of queries, keys and values) and Qwen3 (queries and keys normalised), windows in some layers of either.

Qwen 2024, arXiv:2407.10671; Qwen 2025, arXiv:2505.09388.
"""

from typing import Any, cast

from transduce.errors import UserError
from transduce.exchange.families.family import Fields
from transduce.exchange.families.layered import (
    FULL,
    SLIDING,
    One,
    kinds,
    layered,
    require_shallow,
    window,
    windowed,
    windows,
)
from transduce.exchange.families.llama import Llama
from transduce.exchange.families.matching import matches
from transduce.model.architecture import DecoderConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import RMSNorm


def used(fields: Fields) -> int | None:
    """Returns sliding_window, if use_sliding_window; else transformers forget it."""
    if fields.flag("use_sliding_window", False):
        return window(fields, 4096)
    fields.take("sliding_window")
    return None


class Qwen2(Llama):
    model_type = "qwen2"
    architectures = ("Qwen2ForCausalLM", "Qwen2Model")
    kv_heads = 32
    limit = 32768
    even = False

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm) -> AttentionConfig:
        return AttentionConfig(heads=heads, kv_heads=self.groups(fields, heads), out_bias=False)

    def varied(self, fields: Fields, model: DecoderConfig) -> DecoderConfig:
        size, first, depth = used(fields), fields.take("max_window_layers", 28), cast("int", model.layers)
        if size is None and "layer_types" not in fields.left:
            return model
        require_shallow(depth)
        if not isinstance(first, int):
            raise UserError(f"config.json has max_window_layers={first!r}; it must be a whole number")
        types = kinds(fields, [SLIDING if size is not None and self.slides(i, first) else FULL for i in range(depth)])
        if size is None and SLIDING in types:
            raise UserError("config.json has layer_types with sliding_attention, but no window; set use_sliding_window")
        return layered(model, windowed([One(model.mixer, model.feedforward, model.positions)] * depth, types, size))

    def slides(self, layer: int, first: int) -> bool:
        """Says whether a layer has a window, where config.json has only max_window_layers."""
        return layer >= first

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        slides = windows(layers)
        if slides is None:
            return None
        plain, types, size = slides
        result = super().uniform(model, plain)
        if result is None:
            return None
        own = {"sliding_window": size, "layer_types": types, "max_window_layers": len(layers)}
        return result[0], {"use_sliding_window": size is not None, **own}

    def written(self, mixer: AttentionConfig, norm: RMSNorm) -> dict[str, Any] | None:
        plain = AttentionConfig(heads=mixer.heads, kv_heads=mixer.kv_heads, size=mixer.size, out_bias=False)
        return {} if matches(mixer, plain) else None


class Qwen3(Qwen2):
    model_type = "qwen3"
    architectures = ("Qwen3ForCausalLM", "Qwen3Model")
    head_dim = 128

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm) -> AttentionConfig:
        groups, bias = self.groups(fields, heads), fields.flag("attention_bias", False)
        return AttentionConfig(heads=heads, kv_heads=groups, bias=bias, qk_norm=norm)

    def written(self, mixer: AttentionConfig, norm: RMSNorm) -> dict[str, Any] | None:
        plain = AttentionConfig(
            heads=mixer.heads, kv_heads=mixer.kv_heads, size=mixer.size, bias=mixer.bias, qk_norm=norm
        )
        return {"attention_bias": mixer.bias} if matches(mixer, plain) else None
