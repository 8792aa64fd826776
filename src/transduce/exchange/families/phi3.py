"""Phi-3 and Phi-4-mini: LLaMA with fused projections, positions for part of a head, and LongRoPE.

Abdin et al. 2024, arXiv:2404.14219; 2025, arXiv:2503.01743.
"""

from typing import Any

from transduce.errors import UserError
from transduce.exchange.families.family import Fields
from transduce.exchange.families.layered import One, window
from transduce.exchange.families.llama import Llama
from transduce.exchange.families.matching import matches
from transduce.exchange.families.rope import longest
from transduce.exchange.ops import Split
from transduce.exchange.table import Row, pair, row
from transduce.model.architecture import DecoderConfig
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import RMSNorm
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.positions.scaling import LongRopeScalingConfig


class Phi3(Llama):
    model_type = "phi3"
    architectures = ("Phi3ForCausalLM", "Phi3Model")
    limit = 4096
    eps = 1e-5
    partial = True
    even = False
    ids = 32000
    rank = 60

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm) -> AttentionConfig:
        for key in ("interpolate_factor", "full_attn_mod"):  # of Phi-4-mini
            fields.only(key, 1)
        size = window(fields)
        return AttentionConfig(heads=heads, kv_heads=self.groups(fields, heads), window=size, bias=False)

    def rotary(self, fields: Fields, limit: int, size: int) -> RotaryConfig:
        fields.left.setdefault("original_max_position_embeddings", 4096)
        for key in ("rope_parameters", "rope_scaling"):
            if isinstance(scaling := fields.left.get(key), dict):
                names = {"su": "longrope", "yarn": "longrope"}  # as the first releases called it
                fields.left[key] = {
                    k: names.get(x, x) if k in ("type", "rope_type") and isinstance(x, str) else x
                    for k, x in scaling.items()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
                }
        places = super().rotary(fields, limit, size)
        if places.scaling is not None and not isinstance(places.scaling, LongRopeScalingConfig):
            raise UserError(f"config.json has rope_type={places.scaling.kind!r}; Phi-3 has default and longrope only")
        if int(size * places.fraction) % 2:
            raise UserError(f"config.json turns {int(size * places.fraction)} features of a head; they must be even")
        return places

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        places, result = layers[0].positions, super().uniform(model, layers)
        feed = layers[0].feedforward
        if result is None or not isinstance(places, RotaryConfig) or not isinstance(feed, GatedConfig):
            return None
        mixer = layers[0].mixer
        turned = int(mixer.head_dim(model.width) * places.fraction) if isinstance(mixer, AttentionConfig) else 1
        if feed.hidden is None or feed.bias or turned % 2 or not turned:
            return None
        if places.scaling is not None and not isinstance(places.scaling, LongRopeScalingConfig):
            return None
        original = longest(places) if places.scaling is None else places.scaling.original
        return result[0], {"original_max_position_embeddings": original}

    def written(self, mixer: AttentionConfig, norm: RMSNorm) -> dict[str, Any] | None:
        plain = AttentionConfig(heads=mixer.heads, kv_heads=mixer.kv_heads, window=mixer.window, bias=False)
        return {"sliding_window": mixer.window} if matches(mixer, plain) else None

    def attention(self, theirs: str, ours: str, mixer: AttentionConfig, width: int) -> list[Row]:
        size, groups = mixer.head_dim(width), mixer.kv_heads or mixer.heads
        split = Split((size * mixer.heads, size * groups, size * groups))
        qkv = tuple(f"{ours}.{x}.weight" for x in "qkv")
        return [row(f"{theirs}.qkv_proj.weight", qkv, split), *pair(f"{theirs}.o_proj", f"{ours}.out", bias=False)]

    def feed(self, theirs: str, ours: str, feed: FeedForwardConfig) -> list[Row]:
        assert isinstance(feed, GatedConfig)
        assert feed.hidden is not None
        both = (f"{ours}.gate.weight", f"{ours}.up.weight")
        down = pair(f"{theirs}.down_proj", f"{ours}.down", bias=False)
        return [row(f"{theirs}.gate_up_proj.weight", both, Split((feed.hidden, feed.hidden))), *down]
