"""Layers as data: runs of equal ones, or names of mixers.

Tested in tests/model/test_architecture.py.
"""

import re
from dataclasses import dataclass
from typing import Any, cast

from transduce.errors import UserError, require_at_least, require_at_most
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.positions.position import PositionsConfig
from transduce.model.residual.residual import ResidualConfig


@dataclass(frozen=True, kw_only=True)
class LayerConfig:
    """A run of equal layers.

    times: how many.
    tied: the layers share their weights.
    mixer: of these layers (None: the model's).
    feedforward: of these layers (None: the model's).
    residual: of these layers (None: the model's).
    cross: the mixer between source and target, in a decoder that reads one (None: the model's); kind `none`: these
        layers do not.
    positions: of these layers, where they act inside mixers (None: the model's); kind `none`: these layers have none.
    beside: a mixer that reads what enters a layer and joins what leaves it, the convolution of DeBERTa-v2 (None: it has
        none).
    """

    times: int = 1
    tied: bool = False
    mixer: MixerConfig | None = None
    feedforward: FeedForwardConfig | None = None
    residual: ResidualConfig | None = None
    cross: MixerConfig | None = None
    positions: PositionsConfig | None = None
    beside: MixerConfig | None = None

    def __post_init__(self) -> None:
        require_at_least(1, times=self.times)
        require_at_most(MOST, times=self.times)


Layers = int | tuple[LayerConfig, ...]
MOST = 4096  # layers of a stack: the deepest that was trained has 1,000, and making one more takes its time

TIMES = re.compile(r"\s*\[([\w\s,-]*)\]\s*\*\s*(\d+)\s*")


def expanded(layers: Any, own: str) -> Any:
    """Returns layers as `from_data` reads them: `[delta, delta, attention] * 4`, or a list with names of mixers in
    it.

    own: the kind of the model's mixer; a layer of that name has the model's, with its options.
    """
    if isinstance(layers, str) and (product := TIMES.fullmatch(layers)):
        names, times = [name.strip() for name in product[1].split(",") if name.strip()], int(product[2][:9])
        require_at_most(MOST, layers=len(names) * times)
        layers = names * times
    if isinstance(layers, str) and not layers.strip().isdecimal():
        raise UserError(f"layers={layers} is neither a number nor a list such as `[delta, delta, attention] * 4`")
    if not isinstance(layers, list):
        return layers
    return [
        ({} if name == own else {"mixer": name}) if isinstance(name, str) else name
        for name in cast("list[Any]", layers)
    ]


def require_layers(**values: Layers | None) -> None:
    """Raises UserError unless every stack that is given has a layer."""
    for name, layers in values.items():
        if layers is not None and (layers < 1 if isinstance(layers, int) else not layers):
            raise UserError(f"{name}={layers if isinstance(layers, int) else []} must be at least 1 layer")
        if layers is not None:
            require_at_most(MOST, **{name: layers if isinstance(layers, int) else sum(run.times for run in layers)})


def runs(layers: Layers) -> tuple[LayerConfig, ...]:
    return (LayerConfig(times=layers),) if isinstance(layers, int) else layers
