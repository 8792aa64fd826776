"""The same model with the features of its stream in another order: sines before cosines, as most classes have them.

Nothing that a Transformer computes depends on the order of its features, but for the sinusoids that are added to them.
So a model that has sines and cosines in turn is, with its weights permuted, one that has all sines first.
"""

import copy
import re
from dataclasses import replace

import torch

from transduce.model.architecture import ModelConfig
from transduce.model.models import Model
from transduce.model.positions.absolute import SinusoidalConfig

# Names of parameters -> their axis that is the stream (None: they have none).
AXES: tuple[tuple[str, int | None], ...] = (
    (r".*\.(q|k|v|up|gate)\.weight", 1),
    (r".*\.(q|k|v|up|gate)\.bias", None),
    (r".*\.(out|down)\.(weight|bias)", 0),
    (r".*\.(norm|mix_norm|feed_norm|leave|enter)\.(weight|bias)", 0),
    (r"(.*\.)?embed\.weight", 1),
    (r"(.*\.)?head\.weight", 1),
    (r"(.*\.)?head\.bias", None),
)


def sines_first(config: ModelConfig) -> ModelConfig | None:
    """Returns the config of the model with its features in that order (None: it is so already, or has no sinusoids)."""
    places = config.positions
    if not isinstance(places, SinusoidalConfig) or places.order != "interleaved":
        return None
    return replace(config, positions=replace(places, order="halves"))


def permuted(model: Model, width: int) -> Model | None:
    """Returns a copy whose weights are those of features 0, 2, 4, ..., 1, 3, 5, ...; to be written: its sinusoids stay.

    None where it has parameters that are not known here."""
    axes: dict[str, int | None] = {}
    for name, _ in model.named_parameters():
        axis_of = [axis for pattern, axis in AXES if re.fullmatch(pattern, name)]
        if not axis_of:
            return None
        axes[name] = axis_of[0]
    order = torch.cat([torch.arange(0, width, 2), torch.arange(1, width, 2)])
    out = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in out.named_parameters():
            axis = axes[name]
            if axis is None:
                continue
            if parameter.shape[axis] != width:
                return None
            parameter.copy_(parameter.index_select(axis, order.to(parameter.device)))
    return out
