"""The law of models in fewer bits: linear maps are called, or declared in `multiplied`."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.model.mixers.mixer import Mixer
from transduce.precision.convert import exchange, matrices
from transduce.precision.maps import Map
from transduce.testing.adapted import runs
from transduce.testing.runs import close, inputs


class Opaque(Map):
    """The same linear map; the `weight` that it shows, as that of a map in fewer bits, is NaN."""

    def __init__(self, part: nn.Linear) -> None:
        super().__init__(part.out_features, part.in_features, part.bias)
        self.matrix: Tensor = part.weight.detach()
        self.here = nn.Parameter(torch.zeros(1))  # by which others know the device and the precision

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.matrix, self.bias)


def exchanged(mixer: Mixer, width: int) -> None:
    """With its linear maps exchanged for others that compute the same, a mixer computes the same in every role.

    Whoever multiplies by the matrix of a map that is not in `multiplied` gets NaN here.
    """
    if next(mixer.parameters()).dtype == torch.float64:
        return
    ours, x = deepcopy(mixer), inputs(mixer, width)
    for part in matrices(ours, 0).values():
        assert isinstance(part, nn.Linear)
        exchange(ours, part, Opaque(part))
    with torch.no_grad():
        for role, run in runs(mixer):
            close(run(ours, x), run(mixer, x), f"exchanged, {role}")
