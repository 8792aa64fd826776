"""Rotary positions in config.json: `rope_parameters`, or `rope_theta` and `rope_scaling` as they were before."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from transduce.errors import UserError
from transduce.exchange.families.family import Fields
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.positions.scaling import (
    DynamicScalingConfig,
    LinearScalingConfig,
    Llama3ScalingConfig,
    LongRopeScalingConfig,
    ProportionalScalingConfig,
    ScalingConfig,
    YarnScalingConfig,
)

MOST = 1 << 21  # positions, whose angles are held in a table


def rotary(fields: Fields, limit: int, base: float = 10_000.0, partial: bool = False) -> RotaryConfig:
    """Returns the one kind of rotary positions of a config.json.

    limit: its max_position_embeddings.
    base: rope_theta where nothing says it.
    partial: its class knows partial_rotary_factor.
    """
    base = fields.number("rope_theta", base)
    fraction = fields.number("partial_rotary_factor", 1.0) if partial else 1.0
    original = fields.take("original_max_position_embeddings")
    scaling, parameters = fields.take("rope_scaling"), fields.take("rope_parameters", {})
    return inner(scaling or parameters, limit, base, fraction, original, partial)


def inner(
    stated: Any, limit: int, base: float, fraction: float = 1.0, original: Any = None, partial: bool = False
) -> RotaryConfig:
    """Returns what one `rope_parameters` says; the rest is what holds where it says nothing. Raises UserError."""
    if not isinstance(stated, dict):
        raise UserError(f"config.json has rope_parameters={stated!r}; it must be an object")
    left = dict(cast("dict[str, Any]", stated))
    old = left.pop("type", "default")
    kind = left.pop("rope_type", old)
    if original is not None:
        left["original_max_position_embeddings"] = original
    fields = Fields({key: value for key, value in left.items() if value is not None})
    if not isinstance(kind, str) or kind not in READ:
        raise UserError(f"config.json has rope_type={kind!r}; known here are {', '.join(READ)}")
    base = fields.number("rope_theta", base)
    if kind != "proportional":
        fraction = fields.number("partial_rotary_factor", fraction)
        if fraction != 1.0 and not partial:
            raise UserError(f"config.json has partial_rotary_factor={fraction}, but this family turns all of a head")
    scaling = READ[kind](fields, limit)
    if kind in ("default", "linear", "dynamic", "proportional"):  # as transformers, which say it but do not use it
        fields.take("original_max_position_embeddings")
    fields.done()
    if isinstance(scaling, DynamicScalingConfig | YarnScalingConfig):
        limit = max(limit, int(min(scaling.original * scaling.factor, MOST + 1)))
    if limit > MOST:
        raise UserError(f"config.json has max_position_embeddings={limit:,}; the most that is read here is {MOST:,}")
    return RotaryConfig(base=base, limit=limit, fraction=fraction, scaling=scaling)


def _original(fields: Fields, limit: int) -> int:
    return fields.whole("original_max_position_embeddings", limit)


def _perhaps(fields: Fields, key: str) -> float | None:
    return fields.number(key) if key in fields.left else None


def _yarn(fields: Fields, limit: int) -> ScalingConfig:
    original = _original(fields, limit)
    return YarnScalingConfig(
        factor=fields.number("factor", limit / original), original=original,
        attention=_perhaps(fields, "attention_factor"),
        beta_fast=fields.number("beta_fast", 32.0) or 32.0, beta_slow=fields.number("beta_slow", 1.0) or 1.0,
        mscale=_perhaps(fields, "mscale"), mscale_all_dim=_perhaps(fields, "mscale_all_dim"),
        truncate=fields.flag("truncate", True),
    )  # fmt: skip


def _llama3(fields: Fields, limit: int) -> ScalingConfig:
    low, high = fields.number("low_freq_factor"), fields.number("high_freq_factor")
    return Llama3ScalingConfig(factor=fields.number("factor"), original=_original(fields, limit), low=low, high=high)


def _longrope(fields: Fields, limit: int) -> ScalingConfig:
    original = _original(fields, limit)
    return LongRopeScalingConfig(
        short=_numbers(fields, "short_factor"), long=_numbers(fields, "long_factor"), original=original,
        factor=fields.number("factor", limit / original), attention=_perhaps(fields, "attention_factor"),
    )  # fmt: skip


def _numbers(fields: Fields, key: str) -> tuple[float, ...]:
    value = fields.take(key)
    numbers = cast("list[Any]", value if isinstance(value, list) else [None])
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
        raise UserError(f"config.json has {key}={value!r}; it must be a list of numbers")
    return tuple(float(x) for x in numbers)


def _proportional(fields: Fields, limit: int) -> ScalingConfig:
    share, factor = fields.number("partial_rotary_factor", 1.0), fields.number("factor", 1.0)
    return ProportionalScalingConfig(share=share, factor=factor)


READ: Mapping[str, Callable[[Fields, int], ScalingConfig | None]] = {
    "default": lambda fields, limit: None,
    "linear": lambda fields, limit: LinearScalingConfig(factor=fields.number("factor")),
    "dynamic": lambda fields, limit: DynamicScalingConfig(factor=fields.number("factor"), original=limit),
    "yarn": _yarn,
    "llama3": _llama3,
    "longrope": _longrope,
    "proportional": _proportional,
}


def longest(places: RotaryConfig) -> int:
    """Returns what transformers call max_position_embeddings: of dynamic scaling, where it begins."""
    return places.scaling.original if isinstance(places.scaling, DynamicScalingConfig) else places.limit


def written(places: RotaryConfig) -> dict[str, Any]:
    """Returns one `rope_parameters`."""
    own: dict[str, Any] = {"rope_type": "default" if places.scaling is None else places.scaling.kind}
    own["rope_theta"] = places.base
    if places.fraction != 1.0:
        own["partial_rotary_factor"] = places.fraction
    match places.scaling:
        case LinearScalingConfig(factor=factor) | DynamicScalingConfig(factor=factor):
            own["factor"] = factor
        case ProportionalScalingConfig(share=share, factor=factor):
            own |= {"factor": factor, "partial_rotary_factor": share}
        case Llama3ScalingConfig() as s:
            own |= {"factor": s.factor, "low_freq_factor": s.low, "high_freq_factor": s.high}
            own["original_max_position_embeddings"] = s.original
        case YarnScalingConfig() as s:
            own |= {"factor": s.factor, "original_max_position_embeddings": s.original, "truncate": s.truncate}
            own |= {"beta_fast": s.beta_fast, "beta_slow": s.beta_slow}
            own |= given(attention_factor=s.attention, mscale=s.mscale, mscale_all_dim=s.mscale_all_dim)
        case LongRopeScalingConfig() as s:
            short = s.long if s.extended else s.short
            own |= {"factor": s.factor, "original_max_position_embeddings": s.original}
            own |= {"short_factor": list(short), "long_factor": list(s.long), **given(attention_factor=s.attention)}
        case _:
            pass
    return own


def given(**values: float | None) -> dict[str, float]:
    return {key: x for key, x in values.items() if x is not None}


def expressible(places: RotaryConfig, partial: bool = False) -> bool:
    """Says whether config.json can say it. partial: for a class that knows partial_rotary_factor."""
    readable = places.scaling is None or places.scaling.kind in READ
    if isinstance(places.scaling, ProportionalScalingConfig) and places.fraction != 1.0:
        return False
    return readable and not places.interleaved and (places.fraction == 1.0 or partial)
