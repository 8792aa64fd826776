"""Gated recurrent units.

Tested in tests/model/mixers/test_recurrent.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import _VF, Tensor  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]

from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.mixers.recurrent import Recurrent, RecurrentConfig, product
from transduce.model.ops.recurrent import Hidden, gru_before_step, gru_step
from transduce.model.positions.position import Positions


class GRU(Recurrent):
    """Gates r, z, n. With reset_after `hidden` has biases, of which that of n is scaled by r."""

    def __init__(self, config: "GRUConfig", width: int) -> None:
        after = config.reset_after
        super().__init__(config, width, 3, _VF.gru if after else None, second=after and config.bias)
        self.reset_after = after

    def step(self, a: Tensor, state: Hidden) -> Hidden:
        if self.reset_after:
            return gru_step(a, self.recur(state.h), state.h)
        U, Un = self.hidden.weight[: 2 * self.size], self.hidden.weight[2 * self.size :]
        return gru_before_step(a, state.h, lambda h: product(h, U), lambda h: product(h, Un))


@dataclass(frozen=True, kw_only=True)
class GRUConfig(RecurrentConfig):
    """h_t = z h_{t-1} + (1 - z) n, n = tanh(W x_t + r U h_{t-1} + b): z keeps.   Cho et al. 2014, arXiv:1406.1078.

    Here r and z are sigmoids of maps of x_t and h_{t-1}. (In Bahdanau et al. 2014 z is our 1 - z: they exchange keeping
    and taking.) With another size than the width, y_t = W_out h_t.

    reset_after: r scales U h + b, as in torch.nn and cuDNN; false: r scales h before the product, as in the paper.
    """

    kind: ClassVar[str] = "gru"
    reset_after: bool = True

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [cls(), cls(size=9, bias=False), cls(reset_after=False), cls(reset_after=False, size=11)]

    def build(self, width: int, positions: Positions) -> Mixer:
        return GRU(self, width)
