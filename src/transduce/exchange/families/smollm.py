"""SmolLM3: LLaMA, but some layers have no positions. Bakouch et al. 2025; the idea: Yang et al. 2025, arXiv:2501.18795.

SmolLM 1 and 2 are LLaMA.
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
from transduce.model.architecture import DecoderConfig
from transduce.model.positions.position import NoPositionsConfig


class SmolLM3(Llama):
    model_type = "smollm3"
    architectures = ("SmolLM3ForCausalLM", "SmolLM3Model")
    kv_heads = 4
    limit = 32768
    base = 2_000_000.0
    tied = True
    rank = 60
    even = False
    ids = 128004

    def varied(self, fields: Fields, model: DecoderConfig) -> DecoderConfig:
        depth, every = cast("int", model.layers), fields.whole("no_rope_layer_interval", 4)
        require_shallow(depth)
        size = window(fields)
        size = size if fields.flag("use_sliding_window", False) else None
        turned = fields.take("no_rope_layers", [int((i + 1) % every != 0) for i in range(depth)])
        listed = cast("list[Any]", turned if isinstance(turned, list) else [])
        if len(listed) < depth or any(one not in (0, 1) for one in listed):
            raise UserError(f"config.json has no_rope_layers={turned!r}; it must be a list of {depth}, each 0 or 1")
        turned = cast("list[int]", turned)[:depth]
        types = kinds(fields, [FULL if size is None or on else SLIDING for on in turned])
        if size is None and SLIDING in types:
            raise UserError("config.json has layer_types with sliding_attention, but no window; set use_sliding_window")
        fields.take("max_window_layers")  # of another family: its class does not look at it
        layers = [One(model.mixer, model.feedforward, model.positions if on else NoPositionsConfig()) for on in turned]
        if not any(turned):
            raise UserError("config.json has no_rope_layers of 0 only; one layer at least must have positions")
        return layered(model, windowed(layers, types, size))

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        slides = windows(layers)
        turned = [not isinstance(one.positions, NoPositionsConfig) for one in layers]
        if slides is None or not any(turned):
            return None
        plain, types, size = slides
        places = plain[turned.index(True)].positions
        result = super().uniform(model, [
            one if on else one._replace(positions=places) for one, on in zip(plain, turned, strict=True)
        ])  # fmt: skip
        if result is None:
            return None
        own = {"use_sliding_window": size is not None, "sliding_window": size, "layer_types": types}
        return result[0], {"no_rope_layers": [int(on) for on in turned], **own}
