"""Decoders whose layers are not all alike: the layers one by one, and as runs of equal ones."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple, cast

from transduce.errors import UserError
from transduce.exchange.families.family import Fields
from transduce.model.architecture import DecoderConfig, ModelConfig
from transduce.model.architecture.layers import LayerConfig, runs
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.positions.position import PositionsConfig

DEEPEST = 10_000  # layers that are written out one by one
FULL, SLIDING = "full_attention", "sliding_attention"


class One(NamedTuple):
    """The parts of one layer."""

    mixer: MixerConfig
    feedforward: FeedForwardConfig
    positions: PositionsConfig


def each(model: ModelConfig) -> list[One] | None:
    """Returns every layer (None: some share weights, or have a residual of their own)."""
    out = list[One]()
    for run in runs(model.layers):
        alone = run.cross is None and run.beside is None
        if (run.tied and run.times > 1) or not alone or run.residual not in (None, model.residual):
            return None
        parts = One(run.mixer or model.mixer, run.feedforward or model.feedforward, run.positions or model.positions)
        out += [parts] * run.times
    return out


def layered(model: DecoderConfig, layers: Sequence[One]) -> DecoderConfig:
    """Returns the model with these layers: what is the model's in each is left to the model."""
    if all(one == layers[0] for one in layers):
        mixer, feed, positions = layers[0]
        return replace(model, layers=len(layers), mixer=mixer, feedforward=feed, positions=positions)
    configs = [
        LayerConfig(
            times=len(list(same)),
            mixer=None if one.mixer == model.mixer else one.mixer,
            feedforward=None if one.feedforward == model.feedforward else one.feedforward,
            positions=None if one.positions == model.positions else one.positions,
        )
        for one, same in groupby(layers)
    ]
    return replace(model, layers=tuple(configs))


def require_shallow(depth: int) -> None:
    if depth > DEEPEST:
        raise UserError(f"config.json has num_hidden_layers={depth:,}; the most whose layers may differ is {DEEPEST:,}")


def kinds(fields: Fields, otherwise: Sequence[str]) -> list[str]:
    """Returns layer_types; otherwise: what they are if config.json does not say. Raises UserError."""
    stated = fields.take("layer_types", list(otherwise))
    listed = cast("list[object]", stated if isinstance(stated, list) else [stated])
    if len(listed) != len(otherwise) or any(one not in (FULL, SLIDING) for one in listed):
        raise UserError(
            f"config.json has layer_types={stated!r}; it must be a list of {len(otherwise)}, each {FULL} or {SLIDING}"
        )
    return [str(one) for one in listed]


def window(fields: Fields, default: int | None = None) -> int | None:
    """Returns sliding_window; null is none, even if the class has a default."""
    size = fields.left.pop("sliding_window", default)
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise UserError(f"config.json has sliding_window={size!r}; it must be a whole number, at least 1, or null")
    return size


def windowed(layers: Sequence[One], types: Sequence[str], size: int | None) -> list[One]:
    """Returns the layers, those that slide with a window."""
    return [
        one._replace(mixer=replace(cast("AttentionConfig", one.mixer), window=size)) if kind == SLIDING else one
        for one, kind in zip(layers, types, strict=True)
    ]


def windows(layers: Sequence[One]) -> tuple[list[One], list[str], int | None] | None:
    """Returns the layers without windows, layer_types and sliding_window (None: windows differ, or not attention)."""
    mixers = [one.mixer for one in layers if isinstance(one.mixer, AttentionConfig)]
    sizes = {mixer.window for mixer in mixers if mixer.window is not None}
    if len(mixers) != len(layers) or len(sizes) > 1:
        return None
    plain = [one._replace(mixer=replace(mixer, window=None)) for one, mixer in zip(layers, mixers, strict=True)]
    return plain, [FULL if mixer.window is None else SLIDING for mixer in mixers], next(iter(sizes), None)
