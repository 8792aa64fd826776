"""Long short-term memory.

Tested in tests/model/mixers/test_recurrent.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import _VF, Tensor, nn  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType]

from transduce.errors import UserError
from transduce.model.init.init import Initialiser, constant
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.mixers.recurrent import Recurrent, RecurrentConfig
from transduce.model.ops.recurrent import Cell, carousel_step, lstm_step
from transduce.model.positions.position import Positions


class LSTM(Recurrent):
    """Gates i, f, g, o (without a forget gate: i, g, o); `peepholes` (3, S) of i, f, o (or (2, S) of i, o)."""

    memory = Cell

    def __init__(self, config: "LSTMConfig", width: int) -> None:
        gates = 4 if config.forget_gate else 3
        super().__init__(config, width, gates, _VF.lstm if config.forget_gate and not config.peephole else None)
        self.cell, self.forget_bias = lstm_step if config.forget_gate else carousel_step, config.forget_bias
        self.peepholes = nn.Parameter(torch.zeros(gates - 1, self.size)) if config.peephole else None

    def start(self) -> dict[str, Initialiser]:
        return {} if self.peepholes is None else {"peepholes": constant(0.0)}

    def adjust_start(self) -> None:
        if self.cell is lstm_step and self.input.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            self.input.bias[self.size : 2 * self.size] += self.forget_bias

    def step(self, a: Tensor, state: Cell) -> Cell:
        return self.cell(a, self.recur(state.h), state.c, self.peepholes)


@dataclass(frozen=True, kw_only=True)
class LSTMConfig(RecurrentConfig):
    """c_t = s(f) c_{t-1} + s(i) tanh(g), h_t = s(o) tanh(c_t).   Hochreiter & Schmidhuber 1997; Gers et al. 2000.

    i, f, g, o = W x_t + U h_{t-1} + b. With another size than the width, y_t = W_out h_t.

    forget_gate: false is the cell of 1997, c_t = c_{t-1} + s(i) tanh(g).
    peephole: gates also see the cell (Gers, Schraudolph & Schmidhuber 2002).
    forget_bias: what is added to the start value of the bias of f; what is to be remembered over more than 50 tokens
        needs 3 or more.
    """

    kind: ClassVar[str] = "lstm"
    forget_gate: bool = True
    peephole: bool = False
    forget_bias: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forget_bias != 1.0 and not (self.forget_gate and self.bias):
            missing = "bias" if self.forget_gate else "forget_gate"
            raise UserError(f"forget_bias={self.forget_bias} has no meaning with {missing}=false; leave it out")

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [
            cls(),
            cls(size=9, bias=False),
            cls(forget_gate=False),
            cls(peephole=True, size=11),
            cls(forget_gate=False, peephole=True),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return LSTM(self, width)
