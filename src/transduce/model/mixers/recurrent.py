"""Recurrent networks: products, a state of constant size, and the fastest way through a sequence."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.layout import Layout, documents
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.recurrent import Cell, Hidden, Kernel, begin, fused, scan
from transduce.model.ops.rows import ROWS, alike, linear
from transduce.model.roles import Roles
from transduce.model.state import over, select


class Recurrent(Mixer):
    """A network whose memory is its S hidden units. `input`: W, b of n gates; `hidden`: U; `out`: only if S is not M.

    kernel: the fused kernel of the same formula, if there is one. memory: the kind of state.
    """

    no_plan = "every hidden unit is computed from all those of the step before"
    roles: ClassVar[Roles] = {"hidden.weight": "recurrent", "out.weight": "writes"}
    multiplied: ClassVar[tuple[str, ...]] = ("input", "hidden")
    cannot: ClassVar[dict[str, str]] = {"encode": "a recurrent network depends on order; wrap it in bidirectional"}
    memory: ClassVar[type[Hidden] | type[Cell]] = Hidden

    def __init__(
        self, config: "RecurrentConfig", width: int, gates: int, kernel: Kernel | None = None, second: bool = False
    ) -> None:
        super().__init__()
        self.size, self.kernel = config.size or width, kernel
        self.input = nn.Linear(width, gates * self.size, bias=config.bias)
        self.hidden = nn.Linear(self.size, gates * self.size, bias=second)
        self.out = nn.Identity() if self.size == width else nn.Linear(self.size, width, bias=config.bias)

    @abstractmethod
    def step(self, a: Tensor, state: Any) -> Any:
        """Returns the state after one token, whose `products` are a: (B, n S)."""

    def products(self, x: Tensor) -> Tensor:
        """Returns what the input adds, of all tokens at once: (B, T, n S)."""
        return self.input(x)

    def recur(self, h: Tensor) -> Tensor:
        """U h."""
        return product(h, self.hidden.weight, self.hidden.bias)

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> Any:
        dtype = torch.float64 if dtype == torch.float64 else torch.float32
        return self.memory(*(torch.zeros(batch, self.size, device=device, dtype=dtype) for _ in self.memory._fields))

    def forward(self, x: Tensor, layout: Layout, state: Any = None) -> tuple[Tensor, Any]:
        if state is None and layout.segments is not None and self.direct:
            each = documents(layout)
            return each.join(self.forward(each.split(x), each.layout)[0]), None
        if state is None and self.direct:  # padding on the right comes after all that counts
            layout = layout._replace(lengths=None)
        y, after = self.run(x, layout, state)
        return self.out(y.to(x.dtype)), None if state is None else after

    def write(self, x: Tensor, layout: Layout, state: Any = None) -> Any:
        return self.run(x, layout, state)[1]

    def read(self, x: Tensor, layout: Layout, state: Any) -> Tensor:
        return self.out(state.h.to(x.dtype))[:, None].expand(-1, x.shape[1], -1)

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        raise UserError(self.cannot["encode"])

    @property
    def direct(self) -> bool:
        """Says whether the network has a kernel, and no compiler traces it, which it cannot do."""
        return self.kernel is not None and not torch.compiler.is_compiling()

    def run(self, x: Tensor, layout: Layout, state: Any) -> tuple[Tensor, Any]:
        """Returns h of every slot (B, T, S), and the state behind the last token."""
        batch, fresh = x.shape[0], state is None
        if batch < ROWS and self.direct and self.memory is Hidden and alike(x):  # that of an LSTM is oneDNN's
            rows = torch.arange(ROWS).clamp(max=batch - 1)
            y, after = self.run(x[rows], layout.rows(rows), select(state, rows))
            return y[:batch], over(after, lambda s: s[:batch])
        if fresh:
            dtype = self.hidden.weight.dtype
            state = self.init_state(x.shape[0], x.shape[1], device=x.device, dtype=dtype)
        if not self.direct or self.kernel is None or layout.segments is not None:
            return scan(self.step, self.products(x), layout, state)
        state = state if fresh else begin(layout, 0, state)
        padding = ~layout.valid if layout.lengths is not None and self.memory is Cell else None
        y, after = fused(self.kernel, x, state, self.input, self.hidden, padding)
        if layout.lengths is None:
            return y, after
        last = y[torch.arange(x.shape[0], device=x.device), layout.lengths - 1].to(state.h.dtype)
        return y, after._replace(h=torch.where((layout.lengths > 0)[:, None], last, state.h))


def product(h: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns a state times a matrix, in the precision of products, then in its own again."""
    return linear(h.to(weight.dtype), weight, bias).to(h.dtype)


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(MixerConfig):
    """A recurrent network.

    size: hidden units (None: as many as the width, and then there is no `out`).
    bias: whether the maps have one.
    """

    in_order: ClassVar[bool] = True
    size: int | None = None
    bias: bool = True

    def __post_init__(self) -> None:
        require_at_least(1, size=self.size)
