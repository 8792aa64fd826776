"""The mean or the maximum of all tokens: a memory that knows no order and asks no question, the control."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from transduce.errors import require_at_least
from transduce.model.layout import Layout, documents
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles


class Pool(NamedTuple):
    """The sum or the maximum of the values so far, and their number; float32 or float64."""

    value: Tensor  # (B, S)
    number: Tensor  # (B, 1)


class Pooling(Mixer):
    """out(sum_{s<=t} value(x_s) / t), or out(max_{s<=t} value(x_s)), the maximum feature by feature."""

    roles: ClassVar[Roles] = {"out.weight": "writes"}
    tp_plan: ClassVar[dict[str, str]] = {"value": "columns", "out": "rows"}

    def __init__(self, config: "PoolingConfig", width: int) -> None:
        super().__init__()
        size = config.size or width
        self.value, self.out = nn.Linear(width, size, bias=config.bias), nn.Linear(size, width, bias=config.bias)
        self.mean = config.statistic == "mean"
        self.nothing = 0.0 if self.mean else torch.finfo(torch.float32).min  # changes no sum, or no maximum

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> Pool:
        dtype = torch.promote_types(dtype, torch.float32)
        return self.empty(torch.zeros(batch, 0, self.value.out_features, device=device, dtype=dtype))

    def forward(self, x: Tensor, layout: Layout, state: Pool | None = None) -> tuple[Tensor, Pool | None]:
        if state is None and layout.segments is not None:
            each = documents(layout)
            return each.join(self.forward(each.split(x), each.layout)[0]), None
        v = self.values(x)
        state, keeps = self.empty(v) if state is None else state, state is not None
        # With `segments` documents begin anywhere, else in the first slot only.
        length = x.shape[1] if layout.segments is None else 1
        parts: list[Tensor] = []
        for t in range(0, x.shape[1], length):
            running, state = self.run(v[:, t : t + length], layout.slice(t, t + length), state)
            parts.append(self.statistic(running))
        return self.out(torch.cat(parts, 1).to(x.dtype)), state if keeps else None

    def write(self, x: Tensor, layout: Layout, state: Pool | None = None) -> Pool:
        v, document = self.values(x), layout.starts.cumsum(1)
        last = layout.valid & (document == document[:, -1:])
        old = self.forget(self.empty(v) if state is None else state, document[:, -1:] > 0)
        v = v.masked_fill(~last[..., None], self.nothing)
        value = v.sum(1) + old.value if self.mean else torch.maximum(v.amax(1), old.value)
        return Pool(value, last.sum(1, keepdim=True) + old.number)

    def read(self, x: Tensor, layout: Layout, state: Pool) -> Tensor:
        return self.out(self.statistic(state).to(x.dtype))[:, None].expand(-1, x.shape[1], -1)

    def run(self, v: Tensor, layout: Layout, state: Pool) -> tuple[Pool, Pool]:
        """Returns the pools after every token, (B, T, S) and (B, T, 1), and after the last."""
        old = self.forget(state, layout.starts[:, :1])
        v = v.masked_fill(~layout.valid[..., None], self.nothing)
        before = old.value[:, None]
        value = v.cumsum(1) + before if self.mean else torch.maximum(v.cummax(1).values, before)
        number = layout.valid.cumsum(1)[..., None] + old.number[:, None]
        return Pool(value, number), Pool(value[:, -1], number[:, -1])

    def forget(self, state: Pool, rows: Tensor) -> Pool:
        """Returns the pools, empty in the rows (B, 1) where a document begins."""
        return Pool(state.value.masked_fill(rows, self.nothing), state.number.masked_fill(rows, 0.0))

    def statistic(self, pool: Pool) -> Tensor:
        """Returns the statistic of a pool, zeros where it has no token."""
        return pool.value / pool.number.clamp(min=1.0) if self.mean else pool.value.masked_fill(pool.number == 0, 0.0)

    def values(self, x: Tensor) -> Tensor:
        """Returns (B, T, S) in the precision of the state."""
        return self.value(x).to(torch.promote_types(self.value.weight.dtype, torch.float32))

    def empty(self, v: Tensor) -> Pool:
        return Pool(v.new_full((v.shape[0], v.shape[2]), self.nothing), v.new_zeros(v.shape[0], 1))


@dataclass(frozen=True, kw_only=True)
class PoolingConfig(MixerConfig):
    """y_t = W mean_{s<=t} V x_s: what a mixer that cannot choose is worth.   The DAN of Iyyer et al. 2015, running.

    statistic: "max" takes the largest value of each feature instead (Collobert et al. 2011, arXiv:1103.0398).
    size: features between V and W (None: the width).
    bias: whether the maps have one.
    """

    kind: ClassVar[str] = "pooling"
    statistic: Literal["mean", "max"] = "mean"
    size: int | None = None
    bias: bool = True

    def __post_init__(self) -> None:
        require_at_least(1, size=self.size)

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [cls(), cls(size=6, bias=False), cls(statistic="max"), cls(statistic="max", size=10)]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Pooling(self, width)
