"""Switch Transformers: T5 in which some feed-forwards are experts. Fedus et al. 2022, arXiv:2101.03961."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any, ClassVar

from transduce.errors import UserError
from transduce.exchange.families.bart import SIDES
from transduce.exchange.families.family import ACTIVATIONS, Fields
from transduce.exchange.families.matching import named
from transduce.exchange.families.t5 import T5, Tie, said
from transduce.exchange.table import Row, pair, row
from transduce.model.architecture import EncoderDecoderConfig, LayerConfig, Layers, ModelConfig
from transduce.model.feedforward.experts import ExpertsConfig
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.none import NoHeadConfig

ALL = 1 << 30  # tokens that an expert takes, where it takes all


class Switch(T5):
    model_type = "switch_transformers"
    rank: ClassVar[int] = 60  # without experts it is T5
    architectures = (
        "SwitchTransformersForConditionalGeneration", "SwitchTransformersModel", "SwitchTransformersEncoderModel",
    )  # fmt: skip
    usual: ClassVar[Mapping[str, Any]] = {
        "d_model": 768, "d_ff": 2048, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12, "vocab_size": 32128,
    }  # fmt: skip

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        model, vocab_size = super().read(fields)
        experts = ExpertsConfig(
            experts=fields.whole("num_experts", 8),
            top=1,
            inner=model.feedforward,
            router_bias=fields.flag("router_bias", False),
            capacity=fields.whole("expert_capacity", 64),
            balance=fields.number("router_aux_loss_coef", 0.001),
            z_loss=fields.number("router_z_loss_coef", 0.001),
        )
        fields.only("router_dtype", "float32")
        fields.only("router_type", "tokens_masked")
        for key in ("router_jitter_noise", "router_ignore_padding_tokens", "add_router_probs", "num_partitions"):
            fields.take(key)  # of training, and of what is given out besides
        depths = (model.upper, model.lower) if isinstance(model, EncoderDecoderConfig) else (model.layers, 1)
        above, below = (mixed(fields, side, depth, experts) for side, depth in zip(SIDES, depths, strict=True))
        if not isinstance(model, EncoderDecoderConfig):
            return replace(model, layers=above), vocab_size
        return replace(model, layers=below, encoder_layers=None if above == below else above), vocab_size

    def tying(self, fields: Fields) -> tuple[Tie, bool]:
        tied = fields.flag("tie_word_embeddings", True)
        return "all" if tied else "none", tied

    def feedforward(self, fields: Fields) -> FeedForwardConfig:
        fields.only("feed_forward_proj", "relu")
        activation = fields.one_of("dense_act_fn", ACTIVATIONS, "relu")
        return MLPConfig(hidden=fields.whole("d_ff", self.usual["d_ff"]), activation=activation, bias=False)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        line = said(model)
        if line is None:
            return None
        tied = isinstance(model, EncoderDecoderConfig) and model.tie_embeddings == "all"
        apart = isinstance(model, EncoderDecoderConfig) and model.tie_embeddings == "none"
        if line.below is not None and (not (tied or apart) or (line.scaled != tied and model.head != NoHeadConfig())):
            return None
        stacks = [side.feedforwards for side in (line.above, line.below) if side is not None]
        kinds = {feed for stack in stacks for feed in stack}
        experts = next((feed for feed in kinds if isinstance(feed, ExpertsConfig)), None)
        if experts is None or not isinstance(experts.inner, MLPConfig) or not kinds <= {experts, experts.inner}:
            return None
        inner, every = experts.inner, [every_of(stack) for stack in stacks]
        if experts.top > 1 or experts.normalised or experts.shared or inner.bias or None in every:
            return None
        return {
            **line.numbers, "vocab_size": vocab_size, "d_ff": inner.hidden or 4 * model.width,
            "dense_act_fn": named(ACTIVATIONS, inner.activation), "tie_word_embeddings": not apart,
            "num_experts": experts.experts, "router_bias": experts.router_bias,
            "expert_capacity": experts.capacity or ALL, "router_aux_loss_coef": experts.balance,
            "router_z_loss_coef": experts.z_loss,
            **{f"{side}_sparse_step": step for side, step in zip(SIDES, every, strict=False)},
        }  # fmt: skip

    def feed_rows(self, feed: FeedForwardConfig, theirs: str, ours: str) -> list[Row]:
        names, theirs = (("wi", "up"), ("wo", "down")), f"{theirs}.mlp"
        if not isinstance(feed, ExpertsConfig):
            return [row(f"{theirs}.{x}.weight", f"{ours}.{y}.weight") for x, y in names]
        return [
            *pair(f"{theirs}.router.classifier", f"{ours}.router", bias=feed.router_bias),
            *(
                row(f"{theirs}.experts.expert_{e}.{x}.weight", f"{ours}.experts.{e}.{y}.weight")
                for e in range(feed.experts)
                for x, y in names
            ),
        ]


def sparse(layer: int, every: int) -> bool:
    """Says whether a layer has experts: the second of every so many."""
    return every == 1 or (every > 0 and layer % every == 1)


def mixed(fields: Fields, side: str, depth: Layers, experts: ExpertsConfig) -> Layers:
    """Returns the layers of one stack."""
    assert isinstance(depth, int)
    count = natural(fields, f"num_sparse_{side}_layers", 3)
    every = natural(fields, f"{side}_sparse_step", depth // count if count else depth)
    alike = [(kind, len(list(same))) for kind, same in groupby(sparse(i, every) for i in range(depth))]
    if alike == [(False, depth)]:
        return depth
    return tuple(LayerConfig(times=times, feedforward=experts if kind else None) for kind, times in alike)


def every_of(stack: tuple[FeedForwardConfig, ...]) -> int | None:
    """Returns n where every n-th layer has experts (None: not evenly)."""
    kinds = [isinstance(feed, ExpertsConfig) for feed in stack]
    return next((n for n in range(len(kinds) + 1) if [sparse(i, n) for i in range(len(kinds))] == kinds), None)


def natural(fields: Fields, key: str, default: int) -> int:
    value = fields.take(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UserError(f"config.json has {key}={value!r}; it must be a whole number, at least 0")
    return value
