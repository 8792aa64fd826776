"""Command R and R7B: mixer and feed-forward side by side behind one LayerNorm without bias, positions of neighbours.

Cohere 2024, Command R; 2025, arXiv:2504.00698, sec. 2.1. In the second, layers that see everything have no positions.
"""

from dataclasses import replace
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
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm, RMSNorm
from transduce.model.positions.position import NoPositionsConfig, PositionsConfig
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.residual.norm_first import ParallelConfig, PreNormConfig


class Cohere(Llama):
    model_type = "cohere"
    architectures = ("CohereForCausalLM", "CohereModel")
    limit = 8192
    base = 500_000.0
    norm_eps, eps = "layer_norm_eps", 1e-5
    tied = True
    even = False
    ids = 255001
    norms = (("input_layernorm", "residual.norm"),)

    def varied(self, fields: Fields, model: DecoderConfig) -> DecoderConfig:
        fields.only("use_qk_norm", False)  # one gain for each head, which norms here do not have
        scale = fields.number("logit_scale", 0.0625)
        head = replace(model.head, scale=scale) if isinstance(model.head, LinearHeadConfig) else model.head
        norm = LayerNorm(eps=cast("RMSNorm", model.norm).eps, bias=False)
        positions = replace(cast("RotaryConfig", model.positions), interleaved=True)
        return replace(model, head=head, norm=norm, positions=positions, residual=ParallelConfig())

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        residual, norm, head = model.residual, model.norm, model.head
        if norm != LayerNorm(eps=getattr(norm, "eps", 0.0), bias=False):
            return None
        if not matches(residual, ParallelConfig(dropout=residual.dropout)):
            return None
        own = {"logit_scale": head.scale} if isinstance(head, LinearHeadConfig) else {}
        result = super().uniform(
            replace(
                model, residual=PreNormConfig(dropout=residual.dropout), norm=RMSNorm(eps=cast("LayerNorm", norm).eps),
                head=replace(head, scale=1.0) if isinstance(head, LinearHeadConfig) else head,
            ),
            [one._replace(positions=halved(one.positions)) for one in layers],
        )  # fmt: skip
        return None if result is None else (result[0], {**own, **result[1]})

    def written(self, mixer: AttentionConfig, norm: RMSNorm) -> dict[str, Any] | None:
        plain = AttentionConfig(heads=mixer.heads, kv_heads=mixer.kv_heads, bias=mixer.bias)
        return {"attention_bias": mixer.bias} if matches(mixer, plain) else None


def halved(places: PositionsConfig) -> PositionsConfig:
    """Returns positions of neighbours as those of halves, and the other way round, which cannot be written."""
    return replace(places, interleaved=not places.interleaved) if isinstance(places, RotaryConfig) else places


class Cohere2(Cohere):
    model_type = "cohere2"
    architectures = ("Cohere2ForCausalLM", "Cohere2Model")
    base = 10_000.0

    def varied(self, fields: Fields, model: DecoderConfig) -> DecoderConfig:
        size, every, depth = window(fields, 4096), fields.whole("sliding_window_pattern", 4), cast("int", model.layers)
        require_shallow(depth)
        types = kinds(fields, [SLIDING if (i + 1) % every else FULL for i in range(depth)])
        if size is None or SLIDING not in types:
            raise UserError("config.json has sliding_attention in no layer, so none would know an order; it needs one")
        model = super().varied(fields, model)
        layers = [
            One(model.mixer, model.feedforward, NoPositionsConfig() if kind == FULL else model.positions)
            for kind in types
        ]
        return layered(model, windowed(layers, types, size))

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        slides = windows(layers)
        if slides is None or slides[2] is None:
            return None
        plain, types, size = slides
        places = plain[types.index(SLIDING)].positions
        for one, kind in zip(plain, types, strict=True):
            if one.positions != (places if kind == SLIDING else NoPositionsConfig()):
                return None
        result = super().uniform(model, [one._replace(positions=places) for one in plain])
        return None if result is None else (result[0], {**result[1], "sliding_window": size, "layer_types": types})
