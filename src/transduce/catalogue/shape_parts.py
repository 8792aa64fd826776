"""Norms, residuals, positions and feed-forwards as a published shape words them."""

from typing import Final

from transduce.catalogue.shape_words import Words
from transduce.errors import UserError
from transduce.exchange.families.family import ACTIVATIONS
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.norms.norm import LayerNorm, NormConfig, RMSNorm
from transduce.model.positions.absolute import LearnedConfig, SinusoidalConfig
from transduce.model.positions.alibi import AlibiConfig
from transduce.model.positions.disentangled import RelativeTableConfig
from transduce.model.positions.position import NoPositionsConfig, PositionsConfig
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.positions.t5 import T5Config
from transduce.model.positions.transformer_xl import TransformerXLConfig
from transduce.model.residual.norm_first import ParallelConfig, PreNormConfig
from transduce.model.residual.norm_last import DeepNormConfig, PostNormConfig
from transduce.model.residual.residual import ResidualConfig

LIMIT: Final = 4096  # positions, where the shape names no limit: of the tables of angles and sines


def norm_of(words: Words) -> NormConfig:
    kind, bias = words.one_of("norm", "layernorm", "rmsnorm"), words.take("norm_bias", True)
    return LayerNorm(bias=bias) if kind == "layernorm" else RMSNorm()


def residual_of(words: Words) -> ResidualConfig:
    """Returns the residual; its dropout is ours, since shapes do not say it.

    A norm ends the stack unless norms come last, or final_norm says else.
    """
    place = words.one_of("norm_placement", "pre", "post", "post-deepnorm", "parallel", "pre-shared")
    beside = place in ("parallel", "pre-shared")
    words.only("parallel_residual", beside)
    words.only("norms_per_layer", 2 if place == "parallel" else 1)
    final = words.take("final_norm", not place.startswith("post"))
    if place == "post":
        if final:
            raise UserError("the shape has norm_placement=post and final_norm=True, which no part here does yet")
        return PostNormConfig()
    if place == "post-deepnorm":
        words.only("residual_scale", "DeepNorm alpha = (2N)^0.5")
        return DeepNormConfig(alpha=(2 * words.shape["layers"]) ** 0.5, final_norm=final)
    if beside:
        return ParallelConfig(norms="each" if place == "parallel" else "one", final_norm=final)
    return PreNormConfig(final_norm=final)


def positions_of(words: Words, head_dim: int) -> PositionsConfig:
    kind = words.one_of(
        "position", "learned", "sinusoidal", "rotary", "alibi", "t5-relative", "xl-relative", "disentangled-relative",
        "none",
    )  # fmt: skip
    limit = words.take("max_positions", LIMIT)
    if kind == "learned":
        offset = words.take("position_offset", 0)
        rows = words.take("position_rows", limit + offset)
        if "position_2d" not in words.shape:
            return LearnedConfig(limit=limit, offset=rows - limit)
        words.only("position_2d", "position in corrupted text + position inside span")
        words.only("position_tables", 2)
        return LearnedConfig(limit=rows, inner=rows)
    if kind == "sinusoidal":
        return SinusoidalConfig(limit=limit)
    if kind == "rotary":
        turned, style = words.take("rotary_dim"), words.take("rotary_style", "half-split")
        fraction = words.take("rotary_fraction", 1.0 if turned is None else turned / head_dim)
        base = float(words.take("rotary_theta", 10_000))
        return RotaryConfig(base=base, limit=limit, fraction=fraction, interleaved=style == "interleaved")
    if kind == "alibi":
        return AlibiConfig()
    if kind == "t5-relative":
        words.only("xl_bias", False)
        distance = words.take("relative_max_distance", T5Config.max_distance)
        return T5Config(buckets=words.whole("relative_buckets"), max_distance=distance)
    if kind == "disentangled-relative":
        buckets, rows = words.take("position_buckets"), words.whole("relative_rows")
        norm = norm_of(Words(words.shape)) if words.take("relative_norm", False) else None
        return RelativeTableConfig(max_distance=limit if buckets else rows // 2, buckets=buckets, norm=norm)
    return transformer_xl(words) if kind == "xl-relative" else NoPositionsConfig()


def transformer_xl(words: Words) -> PositionsConfig:
    """Returns the positions, whose two vectors are the whole model's with xl_bias, else each layer's.

    xl_bias_per_layer=false says the former, too.
    """
    whole = words.take("xl_bias", False) or not words.take("xl_bias_per_layer", True)
    return TransformerXLConfig(lean="stack" if whole else "mixer", segments=words.take("xl_segment", False))


def feedforward_of(words: Words) -> FeedForwardConfig:
    """Returns that of a layer without experts."""
    hidden, bias = words.whole("d_ff"), words.take("ffn_bias", words.shape["bias"])
    name = words.take("activation")
    return feed(hidden, name, words.take("glu", False), bias)


def feed(hidden: int, activation: str, gated: bool, bias: bool) -> FeedForwardConfig:
    if activation not in ACTIVATIONS:
        raise UserError(f"the shape has activation={activation!r}, which no part here does yet")
    kind = GatedConfig if gated else MLPConfig
    return kind(hidden=hidden, activation=ACTIVATIONS[activation], bias=bias)
