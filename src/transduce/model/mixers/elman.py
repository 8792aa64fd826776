"""The simple recurrent network.

Tested in tests/model/mixers/test_recurrent.py.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import _VF, Tensor  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]

from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.mixers.recurrent import Recurrent, RecurrentConfig
from transduce.model.ops.recurrent import Hidden
from transduce.model.positions.position import Positions

KERNELS: dict[str, Any] = {"tanh": _VF.rnn_tanh, "relu": _VF.rnn_relu}


class Elman(Recurrent):
    """h_t = f(W x_t + U h_{t-1} + b)."""

    def __init__(self, config: "ElmanConfig", width: int) -> None:
        super().__init__(config, width, 1, KERNELS.get(config.activation))
        self.activation = config.activation

    def step(self, a: Tensor, state: Hidden) -> Hidden:
        return Hidden(getattr(torch, self.activation)(a + self.recur(state.h)))


@dataclass(frozen=True, kw_only=True)
class ElmanConfig(RecurrentConfig):
    """h_t = tanh(W x_t + U h_{t-1} + b).   Elman 1990, Cognitive Science 14.

    With another size than the width, y_t = W_out h_t.

    activation: in place of tanh; Elman's own units were sigmoid.
    """

    kind: ClassVar[str] = "elman"
    activation: Literal["tanh", "relu", "sigmoid"] = "tanh"

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [cls(), cls(size=9, bias=False), cls(activation="relu"), cls(activation="sigmoid", size=11)]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Elman(self, width)
