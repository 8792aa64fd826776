"""The multiplicative recurrent network: units that multiply activations instead of adding them.

Tested in tests/model/mixers/test_recurrent.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.errors import require_at_least
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.mixers.recurrent import Recurrent, RecurrentConfig, product
from transduce.model.ops.recurrent import Hidden, factored_step
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles


class Multiplicative(Recurrent):
    """`factor_input`, `factor_hidden`: W_fx, W_fh. `input`, `hidden`: W_hx with b, W_hf."""

    roles: ClassVar[Roles] = {**Recurrent.roles, "factor_hidden.weight": "recurrent"}
    multiplied: ClassVar[tuple[str, ...]] = (*Recurrent.multiplied, "factor_hidden")

    def __init__(self, config: "MultiplicativeConfig", width: int) -> None:
        super().__init__(config, width, 1)
        factors = config.factors or self.size
        self.factor_input = nn.Linear(width, factors, bias=False)
        self.factor_hidden = nn.Linear(self.size, factors, bias=False)
        self.hidden = nn.Linear(factors, self.size, bias=False)

    def products(self, x: Tensor) -> Tensor:
        return torch.cat([self.input(x), self.factor_input(x)], -1)

    def step(self, a: Tensor, state: Hidden) -> Hidden:
        a, f = a[..., : self.size], a[..., self.size :]
        return factored_step(a, f, state.h, lambda h: product(h, self.factor_hidden.weight), self.recur)


@dataclass(frozen=True, kw_only=True)
class MultiplicativeConfig(RecurrentConfig):
    """h_t = tanh(W_hx x_t + W_hf f + b), f = W_fx x_t * W_fh h_{t-1}.   Sutskever, Martens & Hinton 2011, ICML.

    Each token chooses the matrix it turns the hidden units by: the second-order (sigma-pi) network of Rumelhart, Hinton
    & McClelland 1986. With another size than the width, y_t = W_out h_t.

    factors: rank of its weights (None: as many as hidden units).
    """

    kind: ClassVar[str] = "multiplicative"
    factors: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, factors=self.factors)

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [cls(), cls(size=9, factors=5, bias=False)]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Multiplicative(self, width)
