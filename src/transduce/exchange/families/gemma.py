"""Gemma 1, 2 and 3 (text): LLaMA whose gains are 1 + w and whose embeddings are scaled; then windows and sandwiches.

Gemma Team 2024, arXiv:2403.08295; 2024, arXiv:2408.00118; 2025, arXiv:2503.19786.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from transduce.errors import UserError
from transduce.exchange.families.family import ACTIVATIONS, Fields
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
from transduce.exchange.families.rope import expressible, inner, longest, written
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.embed.table import TableConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import RMSNorm
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.residual.norm_first import PreNormConfig, SandwichConfig

SCALED = TableConfig(round_scale=True)


class Gemma(Llama):
    model_type = "gemma"
    architectures = ("GemmaForCausalLM", "GemmaModel")
    kv_heads = 16
    head_dim = 256
    limit = 8192
    act = ("hidden_act", "gelu_pytorch_tanh")
    offset = 1.0
    tied = True
    even = False
    other_act: ClassVar[str] = "hidden_activation"  # another key of config.json, which must say the same
    first: ClassVar[bool] = True

    def read(self, fields: Fields) -> tuple[DecoderConfig, int]:
        for key in (self.act[0], self.other_act) if self.first else ():
            if fields.left.get(key) == "gelu":  # as published; the other one is meant
                fields.left[key] = "gelu_pytorch_tanh"
        other = fields.take(self.other_act)
        own = fields.left.get(self.act[0]) or self.act[1]
        if other is not None and ACTIVATIONS.get(str(other)) != ACTIVATIONS.get(str(own)):
            raise UserError(f"config.json has {self.other_act}={other!r}, but {self.act[0]} says something else")
        for key in ("cache_implementation", "_sliding_window_pattern"):
            fields.take(key)
        fields.only("use_bidirectional_attention", False)
        model, vocab = super().read(fields)
        assert isinstance(model, DecoderConfig)
        return replace(model, scale_embedding=True, embedding=SCALED), vocab

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        if model.embedding != SCALED or not model.scale_embedding:
            return None
        if self.first and any(getattr(one.feedforward, "activation", None) == "gelu" for one in layers):
            return None
        return super().uniform(replace(model, embedding=TableConfig(), scale_embedding=False), layers)

    def written(self, mixer: AttentionConfig, norm: RMSNorm) -> dict[str, Any] | None:
        plain = AttentionConfig(heads=mixer.heads, kv_heads=mixer.kv_heads, size=mixer.size, bias=mixer.bias)
        return {"attention_bias": mixer.bias} if matches(mixer, plain) else None

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return (r"(^|\.)embed_tokens\.embed_scale$", *super().silent(model))


class Gemma2(Gemma):
    model_type = "gemma2"
    architectures = ("Gemma2ForCausalLM", "Gemma2Model")
    kv_heads = 4
    act, other_act = ("hidden_activation", "gelu_pytorch_tanh"), "hidden_act"
    even, first = True, False
    norms = (
        ("input_layernorm", "mix_residual.norm"), ("post_attention_layernorm", "mix_residual.norm_after"),
        ("pre_feedforward_layernorm", "feed_residual.norm"), ("post_feedforward_layernorm", "feed_residual.norm_after"),
    )  # fmt: skip
    caps: ClassVar[Mapping[str, float | None]] = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
    every: ClassVar[int] = 2  # one layer in so many sees everything

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm) -> AttentionConfig:
        scale = fields.number("query_pre_attn_scalar", 256)
        if not scale > 0.0:
            raise UserError(f"config.json has query_pre_attn_scalar={scale}; it must be above 0")
        return replace(super().mixer(fields, heads, norm), scale=scale**-0.5, softcap=self.cap(fields, "attn"))

    def cap(self, fields: Fields, of: str) -> float | None:
        """Returns a softcap; null is none, even if the class has a default."""
        key = f"{of}_logit_softcapping"
        stated = fields.left.pop(key, self.caps[key])
        return None if stated is None else Fields({key: stated}).number(key)

    def varied(self, fields: Fields, model: DecoderConfig) -> DecoderConfig:
        cap, depth, size = self.cap(fields, "final"), cast("int", model.layers), window(fields, 4096)
        require_shallow(depth)
        every = fields.whole("sliding_window_pattern", self.every)
        types = kinds(fields, [SLIDING if (i + 1) % every else FULL for i in range(depth)])
        if size is None and SLIDING in types:
            raise UserError("config.json has layer_types with sliding_attention, but sliding_window=null")
        head = replace(model.head, softcap=cap) if isinstance(model.head, LinearHeadConfig) else model.head
        model = replace(model, residual=SandwichConfig(), head=head)
        layers = windowed([One(model.mixer, model.feedforward, model.positions)] * depth, types, size)
        return layered(model, self.turned(fields, layers, types))

    def turned(self, fields: Fields, layers: list[One], types: list[str]) -> list[One]:
        """Returns the layers with positions of their own."""
        return layers

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        slides, residual, cap = windows(layers), model.residual, None
        if slides is None or not matches(residual, SandwichConfig(dropout=residual.dropout)):
            return None
        plain, types, size = slides
        if isinstance(model.head, LinearHeadConfig):
            cap, model = model.head.softcap, replace(model, head=replace(model.head, softcap=None))
        result = super().uniform(replace(model, residual=PreNormConfig(dropout=residual.dropout)), plain)
        own = {"sliding_window": size or 4096, "layer_types": types, "final_logit_softcapping": cap}
        return None if result is None else (result[0], {**own, **result[1]})

    def written(self, mixer: AttentionConfig, norm: RMSNorm) -> dict[str, Any] | None:
        if mixer.scale is None and mixer.size is None:
            return None
        scale = mixer.scale or cast("int", mixer.size) ** -0.5
        whole = round(scale**-2)
        same = super().written(replace(mixer, scale=None, softcap=None, qk_norm=None), norm)
        if same is None or mixer.qk_norm != self.normed(norm) or whole**-0.5 != scale:
            return None
        return {**same, "query_pre_attn_scalar": whole, "attn_logit_softcapping": mixer.softcap}

    def normed(self, norm: RMSNorm) -> RMSNorm | None:
        return None


class Gemma3(Gemma2):
    model_type = "gemma3_text"
    architectures = ("Gemma3ForCausalLM", "Gemma3TextModel")
    limit = 131072
    caps = {"attn_logit_softcapping": None, "final_logit_softcapping": None}  # noqa: RUF012
    every = 6

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm) -> AttentionConfig:
        fields.only("attn_logit_softcapping", None)  # transformers do not look at it
        return replace(super().mixer(fields, heads, norm), qk_norm=norm)

    def normed(self, norm: RMSNorm) -> RMSNorm | None:
        return norm

    def rotary(self, fields: Fields, limit: int, size: int) -> RotaryConfig:
        """Returns those of the layers that see everything; those of the others are kept for `turned`."""
        stated = fields.take("rope_parameters", {})
        if not isinstance(stated, dict) or not set(cast("dict[str, Any]", stated)) <= {FULL, SLIDING}:
            raise UserError(f"config.json has rope_parameters={stated!r}; it must have {FULL} and {SLIDING} only")
        both: dict[str, Any] = {key: x or {} for key, x in cast("dict[str, Any]", stated).items()}
        scaling, base = fields.take("rope_scaling", {}), fields.number("rope_theta", 1_000_000.0)
        if not all(isinstance(x, dict) for x in (scaling, *both.values())):
            raise UserError(f"config.json has rope_parameters={stated!r}; it and rope_scaling must be objects")
        local = fields.number("rope_local_base_freq", 10_000.0)
        fields.left["rope_parameters"] = inner(both.get(SLIDING, {}), limit, local)
        return inner({**both.get(FULL, {}), **scaling}, limit, base)

    def turned(self, fields: Fields, layers: list[One], types: list[str]) -> list[One]:
        local = fields.take("rope_parameters")
        return [
            one._replace(positions=local) if kind == SLIDING else one for one, kind in zip(layers, types, strict=True)
        ]

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        slides = [isinstance(one.mixer, AttentionConfig) and one.mixer.window is not None for one in layers]
        local, full = ({one.positions for one, s in zip(layers, slides, strict=True) if s is k} for k in (True, False))
        if len(local) > 1 or len(full) > 1:
            return None
        a, b = next(iter(full or local)), next(iter(local or full))
        if not (isinstance(a, RotaryConfig) and isinstance(b, RotaryConfig) and expressible(b)):
            return None
        if longest(a) != longest(b):
            return None
        result = super().uniform(model, [one._replace(positions=a) for one in layers])
        both = {FULL: written(a), SLIDING: written(b)}
        return None if result is None else (result[0], {**result[1], "rope_parameters": both})

    def written(self, mixer: AttentionConfig, norm: RMSNorm) -> dict[str, Any] | None:
        return None if mixer.softcap is not None else super().written(mixer, norm)
