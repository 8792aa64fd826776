"""Qwen2-MoE and Qwen3-MoE: experts, in some layers or in all.

Qwen 2024, arXiv:2407.10671, sec. 2.2.2; Qwen 2025, arXiv:2505.09388.
"""

from dataclasses import replace
from typing import Any, ClassVar, cast

from transduce.errors import UserError
from transduce.exchange.families.family import Fields
from transduce.exchange.families.layered import One, each, layered, require_shallow
from transduce.exchange.families.matching import matches
from transduce.exchange.families.mixtral import counted, matching, quiet
from transduce.exchange.families.qwen import Qwen2, Qwen3, used
from transduce.exchange.table import Row, pair
from transduce.model.architecture import DecoderConfig
from transduce.model.feedforward.experts import ExpertsConfig
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import RMSNorm


class Qwen3Moe(Qwen3):
    """gated: one expert more, which every token takes, with a gate."""

    model_type = "qwen3_moe"
    architectures = ("Qwen3MoeForCausalLM", "Qwen3MoeModel")
    kv_heads = 4
    head_dim = None
    gated: ClassVar[bool] = False

    def varied(self, fields: Fields, model: DecoderConfig) -> DecoderConfig:
        quiet(fields)
        key = "num_experts" if "num_experts" in fields.left else "num_local_experts"
        experts = ExpertsConfig(
            experts=counted(fields, key, 60 if self.gated else 128),
            top=fields.whole("num_experts_per_tok", 4 if self.gated else 8),
            inner=self.expert(fields, model, "moe_intermediate_size", 1408 if self.gated else 768),
            normalise=fields.flag("norm_topk_prob", False),
            shared=int(self.gated),
            shared_gate=self.gated,
            shared_inner=self.expert(fields, model, "shared_expert_intermediate_size", 5632) if self.gated else None,
        )
        step, dense = fields.whole("decoder_sparse_step", 1), fields.take("mlp_only_layers", [])
        if not isinstance(dense, list) or not all(isinstance(i, int) for i in cast("list[Any]", dense)):
            raise UserError(f"config.json has mlp_only_layers={dense!r}; it must be a list of numbers of layers")
        inner, varied = model.feedforward, self.slid(fields, model)
        if step == 1 and not dense and isinstance(varied.layers, int):
            return replace(varied, feedforward=experts)
        depth = cast("int", model.layers)
        require_shallow(depth)
        sparse = [(i + 1) % step == 0 and i not in dense for i in range(depth)]
        if not any(sparse):
            raise UserError("config.json leaves no layer with experts; it is a model of the family without them")
        run = replace(varied, feedforward=experts)
        return layered(run, [
            one._replace(feedforward=experts if has else inner)
            for one, has in zip(each(varied) or (), sparse, strict=True)
        ])  # fmt: skip

    def slid(self, fields: Fields, model: DecoderConfig) -> DecoderConfig:
        """Returns the model with its windows: in all layers, or in none."""
        fields.take("max_window_layers")  # of another family: its class does not look at it
        return replace(model, mixer=replace(cast("AttentionConfig", model.mixer), window=used(fields)))

    def expert(self, fields: Fields, model: DecoderConfig, key: str, default: int) -> GatedConfig:
        return replace(cast("GatedConfig", model.feedforward), hidden=fields.whole(key, default))

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        sparse = {one.feedforward for one in layers if isinstance(one.feedforward, ExpertsConfig)}
        dense = {one.feedforward for one in layers if not isinstance(one.feedforward, ExpertsConfig)}
        if len(sparse) != 1 or len(dense) > 1:
            return None
        experts = next(iter(sparse))
        extra = {"shared": 1, "shared_gate": True, "shared_inner": experts.shared_inner} if self.gated else {}
        if not matching(experts, normalise=experts.normalise, **extra):
            return None
        inner, other = cast("GatedConfig", experts.inner), cast("GatedConfig", experts.shared_inner or experts.inner)
        plain = next(iter(dense), inner)
        if replace(other, hidden=inner.hidden) != inner or not isinstance(plain, GatedConfig):
            return None
        if replace(plain, hidden=inner.hidden, dropout=inner.dropout) != inner or None in (inner.hidden, other.hidden):
            return None
        result = super().uniform(model, [one._replace(feedforward=plain) for one in layers])
        own = {
            "num_experts": experts.experts, "num_experts_per_tok": experts.top, "moe_intermediate_size": inner.hidden,
            "norm_topk_prob": experts.normalised, "decoder_sparse_step": 1,
            "mlp_only_layers": [i for i, one in enumerate(layers) if one.feedforward in dense],
            **({"shared_expert_intermediate_size": other.hidden} if self.gated else {}),
        }  # fmt: skip
        return None if result is None or not self.sliding(result[1]) else (result[0], {**result[1], **own})

    def sliding(self, data: dict[str, Any]) -> bool:
        """Says whether config.json can say of the windows what `data` says."""
        del data["max_window_layers"]
        return len(set(data.pop("layer_types"))) == 1

    def feed(self, theirs: str, ours: str, feed: FeedForwardConfig) -> list[Row]:
        if not isinstance(feed, ExpertsConfig):
            return super().feed(theirs, ours, feed)
        rows = pair(f"{theirs}.gate", f"{ours}.router", bias=False)
        for e in range(feed.experts):
            rows += super().feed(f"{theirs}.experts.{e}", f"{ours}.experts.{e}", feed.inner)
        if feed.shared_gate:
            rows += super().feed(f"{theirs}.shared_expert", f"{ours}.shared.0", feed.shared_inner or feed.inner)
            rows += pair(f"{theirs}.shared_expert_gate", f"{ours}.shared_gate", bias=False)
        return rows


class Qwen2Moe(Qwen3Moe):
    model_type = "qwen2_moe"
    architectures = ("Qwen2MoeForCausalLM", "Qwen2MoeModel")
    kv_heads = 16
    gated = True

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm) -> AttentionConfig:
        bias = fields.flag("qkv_bias", True)
        return AttentionConfig(heads=heads, kv_heads=self.groups(fields, heads), bias=bias, out_bias=False)

    def written(self, mixer: AttentionConfig, norm: RMSNorm) -> dict[str, Any] | None:
        plain = AttentionConfig(
            heads=mixer.heads, kv_heads=mixer.kv_heads, size=mixer.size, bias=mixer.bias, out_bias=False
        )
        return {"qkv_bias": mixer.bias} if matches(mixer, plain) else None

    def slid(self, fields: Fields, model: DecoderConfig) -> DecoderConfig:
        return Qwen2.varied(self, fields, model)

    def slides(self, layer: int, first: int) -> bool:
        return layer % 2 == 0 and layer < first

    def sliding(self, data: dict[str, Any]) -> bool:
        return True
