"""Families of decoders with attention, LayerNorm and an MLP: what they can express, and their ends."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from transduce.errors import UserError
from transduce.exchange.families.family import ACTIVATIONS, Family, Fields
from transduce.exchange.families.matching import Parts, matches
from transduce.exchange.families.rope import MOST, expressible, rotary, written
from transduce.exchange.table import Row, Table, pair, row
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.table import TableConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.heads.none import NoHeadConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.position import PositionsConfig
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.positions.scaling import ProportionalScalingConfig
from transduce.model.residual.norm_first import ParallelConfig
from transduce.model.residual.residual import ResidualConfig

Places = TypeVar("Places", bound=PositionsConfig)
PLAIN = TableConfig()
SUMMARY = ("summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout")


class Classic(Family):
    """architectures: the class with a head, then the one without, which is written where there is none."""

    def architecture(self, model: ModelConfig) -> str:
        return self.architectures[headless(model)]


def parts_of(
    model: ModelConfig, positions: type[Places], *, embedding: EmbeddingConfig = PLAIN, scaled: bool = False,
    head_bias: bool = False,
) -> Parts[AttentionConfig, MLPConfig, LayerNorm, Places] | None:  # fmt: skip
    """Returns the parts of a decoder of equal layers of attention and MLP, with these ends or no head, or None."""
    if not isinstance(model, DecoderConfig) or not isinstance(model.layers, int) or model.scale_embedding != scaled:
        return None
    if model.head not in (LinearHeadConfig(bias=head_bias), NoHeadConfig()) or model.embedding != embedding:
        return None
    a, f, n, p = model.mixer, model.feedforward, model.norm, model.positions
    if not (isinstance(a, AttentionConfig) and isinstance(f, MLPConfig) and isinstance(n, LayerNorm)):
        return None
    if not isinstance(p, positions) or f.activation not in ACTIVATIONS.values():
        return None
    tied = model.tie_embeddings and not headless(model)
    return Parts[AttentionConfig, MLPConfig, LayerNorm, Places](a, f, n, p, model.layers, tied)


def plain(mixer: AttentionConfig, **options: Any) -> bool:
    """Says whether attention has nothing but heads and `options`."""
    return matches(mixer, AttentionConfig(heads=mixer.heads, **options))


def is_affine(norm: LayerNorm) -> bool:
    return norm == LayerNorm(eps=norm.eps)


def headless(model: ModelConfig) -> bool:
    return isinstance(model.head, NoHeadConfig)


def head_of(fields: Fields, base: str, tied: bool, bias: bool = False) -> HeadConfig:
    """Returns the head of a class. base: the class without one, which has all weights if the head is tied."""
    absent = fields.architecture == base and (bias or not tied)
    return NoHeadConfig() if absent else LinearHeadConfig(bias=bias)


def either(fields: Fields, *keys: str, default: int) -> int:
    """Returns a number that has had several names, the first of which is the newest."""
    numbers = [fields.whole(key) for key in keys if fields.left.get(key) is not None]
    if len(set(numbers)) > 1:
        raise UserError(f"config.json has {' and '.join(keys)} of different values, {numbers}; they are one number")
    return numbers[0] if numbers else default


class Names(NamedTuple):
    """The names of the parts in a block of ours. norms: before mixer and feed-forward, or one before both."""

    mixer: str
    feed: str
    norms: tuple[str, ...]


def names_of(residual: ResidualConfig) -> Names:
    block = "stack.blocks.{i}"
    mixer, feed = f"{block}.mix", f"{block}.feed"
    if not isinstance(residual, ParallelConfig):
        return Names(mixer, feed, (f"{mixer}_residual.norm", f"{feed}_residual.norm"))
    norms = (f"{mixer}_norm", f"{feed}_norm") if residual.norm_each else (f"{block}.residual.norm",)
    return Names(mixer, feed, norms)


def projections(theirs: Sequence[str], mixer: str, *, bias: bool = True, out_bias: bool | None = None) -> list[Row]:
    """Returns rows of queries, keys, values and the last map. theirs: the names of Hugging Face, in this order."""
    ours = zip(theirs, ("q", "k", "v", "out"), (bias, bias, bias, bias if out_bias is None else out_bias), strict=True)
    return [line for name, own, has in ours for line in pair(name, f"{mixer}.{own}", bias=has)]


def table_of(model: ModelConfig, rows: Sequence[Row], embed: str, prefix: str, head: str = "lm_head") -> Table:
    """Returns the table of all rows, with those of embedding and head. embed, head: their names in the class with a
    head; names of the class without one have no prefix."""
    assert isinstance(model, DecoderConfig)
    own, copies = [row(embed, "embed.weight")], list[tuple[str, str]]()
    if isinstance(model.head, LinearHeadConfig):
        own += [] if model.tie_embeddings else [row(f"{head}.weight", "head.weight")]
        own += [row(f"{head}.bias", "head.bias")] if model.head.bias else []
        copies += [(f"{head}.weight", embed)] if model.tie_embeddings else []
    endings = () if head == "lm_head" else (("lm_head.weight", f"{head}.weight"),)
    return Table(
        (*own, *rows), prefix, tuple(copies), bare=not isinstance(model.head, LinearHeadConfig),
        endings=endings,
    )  # fmt: skip


def require_pairs(fraction: float, size: int) -> None:
    """Raises UserError unless the part of a head that is turned is whole pairs."""
    turned = int(size * fraction)
    if not 0 < fraction <= 1 or turned % 2 or not turned:
        raise UserError(
            f"config.json turns {fraction} of a head of {size} features, which is {turned}; it must be an even number, "
            f"at least 2 and at most {size}"
        )


def part_of(turned: int, size: int) -> float:
    """Returns the fraction of a head's features of which `turned` are left when it is rounded down."""
    fraction = turned / size
    return fraction if int(size * fraction) == turned else math.nextafter(fraction, 2.0)


def turned_of(places: RotaryConfig, size: int) -> int:
    return max(2, int(size * places.fraction) // 2 * 2)


def most(fields: Fields, *keys: str, default: int) -> int:
    """Returns a number of positions, for which a table has rows."""
    limit = either(fields, *keys, default=default)
    if limit > MOST:
        raise UserError(f"config.json has {keys[0]}={limit:,}; the most that is read here is {MOST:,}")
    return limit


def rotary_of(fields: Fields, limit: int, size: int, base: float, fraction: float) -> RotaryConfig:
    """Returns rotary positions of a part of each head of `size` features.

    base, fraction: where rope_parameters has none.
    """
    fields.left["partial_rotary_factor"] = fraction
    places = whole(rotary(fields, limit, base, partial=True))
    require_pairs(places.fraction, size)
    return places


def whole(places: RotaryConfig) -> RotaryConfig:
    """Raises UserError for a scaling that classes which turn the first features of a head do not compute."""
    if isinstance(places.scaling, ProportionalScalingConfig):
        raise UserError("config.json has rope_type='proportional', which its class does not compute; leave it out")
    return places


def turns(places: RotaryConfig) -> bool:
    """Says whether `rope_parameters` can say it."""
    return expressible(places, partial=True) and not isinstance(places.scaling, ProportionalScalingConfig)


def rope_parameters(places: RotaryConfig, size: int) -> dict[str, Any]:
    """Returns what `rotary_of` reads. The fraction is of whole pairs, to which Hugging Face does not round."""
    turned = turned_of(places, size)
    exact = places.fraction if int(size * places.fraction) == turned else part_of(turned, size)
    return {**written(places), "partial_rotary_factor": exact}
