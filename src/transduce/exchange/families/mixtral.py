"""Mixtral: Mistral with experts. Jiang et al. 2024, arXiv:2401.04088."""

from dataclasses import replace
from typing import Any

from transduce.errors import UserError
from transduce.exchange.families.family import Fields
from transduce.exchange.families.layered import One
from transduce.exchange.families.llama import Mistral
from transduce.exchange.table import Row, pair
from transduce.model.architecture import DecoderConfig
from transduce.model.feedforward.experts import ExpertsConfig
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import RMSNorm


def matching(experts_config: ExpertsConfig, **options: Any) -> bool:
    """Says whether experts are gated, and have nothing more than `options`."""
    plain = ExpertsConfig(
        experts=experts_config.experts,
        top=experts_config.top,
        inner=experts_config.inner,
        balance=experts_config.balance,
        z_loss=experts_config.z_loss,
        **options,
    )
    return experts_config == plain and isinstance(experts_config.inner, GatedConfig) and not experts_config.inner.bias


def quiet(fields: Fields) -> None:
    """Takes the keys of training alone."""
    for key in ("output_router_logits", "router_aux_loss_coef", "router_jitter_noise"):
        fields.take(key)


def counted(fields: Fields, key: str, default: int) -> int:
    """Returns a number of experts. Raises UserError if the files have fewer tensors: assembling so many takes time."""
    count = fields.whole(key, default)
    if fields.tensors and count > len(fields.tensors):
        raise UserError(f"config.json has {key}={count:,}, but the files have only {len(fields.tensors)} tensors")
    return count


class Mixtral(Mistral):
    model_type = "mixtral"
    architectures = ("MixtralForCausalLM", "MixtralModel")
    base = 1_000_000.0
    eps = 1e-5

    def mixer(self, fields: Fields, heads: int, norm: RMSNorm) -> AttentionConfig:
        fields.left.setdefault("sliding_window", None)
        return super().mixer(fields, heads, norm)

    def varied(self, fields: Fields, model: DecoderConfig) -> DecoderConfig:
        quiet(fields)
        count, top = counted(fields, "num_local_experts", 8), fields.whole("num_experts_per_tok", 2)
        return replace(
            model, feedforward=ExpertsConfig(experts=count, top=top, inner=model.feedforward, normalise=True)
        )

    def uniform(self, model: DecoderConfig, layers: list[One]) -> tuple[DecoderConfig, dict[str, Any]] | None:
        experts = layers[0].feedforward
        if not isinstance(experts, ExpertsConfig) or not experts.normalised:
            return None
        if not matching(experts, normalise=experts.normalise) or any(one.feedforward != experts for one in layers):
            return None
        result = super().uniform(model, [one._replace(feedforward=experts.inner) for one in layers])
        own = {"num_local_experts": experts.experts, "num_experts_per_tok": experts.top}
        return None if result is None else (result[0], {**result[1], **own})

    def feed(self, theirs: str, ours: str, feed: FeedForwardConfig) -> list[Row]:
        assert isinstance(feed, ExpertsConfig)
        theirs, rows = theirs.replace(".mlp", ".block_sparse_moe"), list[Row]()
        for e in range(feed.experts):
            for a, b in (("w1", "gate"), ("w2", "down"), ("w3", "up")):
                rows += pair(f"{theirs}.experts.{e}.{a}", f"{ours}.experts.{e}.{b}", bias=False)
        return [*pair(f"{theirs}.gate", f"{ours}.router", bias=False), *rows]
