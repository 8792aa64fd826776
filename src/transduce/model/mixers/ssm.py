"""The selective state space model of Mamba-2: a matrix that forgets at a rate that every token chooses."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.init.init import Initialiser, constant, uniform, values
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.norms.norm import WholeRMSNorm
from transduce.model.ops.conv import before, depthwise
from transduce.model.ops.linear import sum_rule, sum_write
from transduce.model.ops.rows import by_number, product
from transduce.model.positions.position import Positions, Queries
from transduce.model.roles import Roles

ORDER = "a state space depends on order; wrap it in bidirectional"
ASKS = "its queries pass a convolution over earlier tokens; set conv=0, or use another mixer between source and target"


class Space(NamedTuple):
    S: Tensor  # (B, H, N, P) float32 or float64
    past: Tensor | None  # (B, conv - 1, I + 2N), what the convolution still sees


class Terms(NamedTuple):
    """Of every token: x: (B, H, T, P), B and C: (B, 1, T, N), which the heads share, dt: (B, H, T), z: (B, T, I)."""

    x: Tensor
    B: Tensor
    C: Tensor
    dt: Tensor
    z: Tensor


class SSM(Mixer):
    """S_t = exp(dt_t A) S_{t-1} + dt_t B_t x_t^T,  y_t = C_t S_t + D x_t,  out(norm(y_t * silu(z_t))).

    H = I / P heads of P of the I features, each with its own dt, A and D; they share B and C. No tp_plan: the norm runs
    over the features of all heads, and A, D, dt_bias and the taps are no Linear that could be split.
    """

    no_plan = "its norm runs over all features"
    roles: ClassVar[Roles] = {"out.weight": "writes"}
    cannot: ClassVar[dict[str, str]] = {"encode": ORDER}

    def __init__(self, config: "SSMConfig", width: int) -> None:
        super().__init__()
        inner, self.size = config.expand * width, config.head_dim(width)
        heads, seen = inner // self.size, inner + 2 * config.state
        self.kernel, self.parts, self.terms = config.conv, [inner, seen, heads], [inner, config.state, config.state]
        self.project = nn.Linear(width, inner + seen + heads, bias=False)
        self.taps = nn.Parameter(torch.empty(config.conv, seen)) if config.conv else None
        self.taps_bias = nn.Parameter(torch.empty(seen)) if config.conv else None
        self.A_log, self.D, self.dt_bias = (nn.Parameter(torch.empty(heads)) for _ in range(3))
        self.norm = WholeRMSNorm(inner, eps=1e-5)
        self.out = nn.Linear(inner, width, bias=False)
        if config.conv:
            object.__setattr__(self, "cannot", {"encode": ORDER, "read": ASKS})

    def start(self) -> dict[str, Initialiser]:
        """Returns A = -1 ... -16, dt = 0.001 ... 0.1 for an input of 0.

        The authors' code, mamba_ssm/modules/mamba2.py.
        """
        own = {"A_log": values(rates), "dt_bias": values(steps), "D": constant(1.0)}
        return own if self.taps is None else own | dict.fromkeys(("taps", "taps_bias"), uniform(self.kernel**-0.5))

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> Space:
        inner, state, _ = self.terms
        exact = torch.promote_types(dtype, torch.float32)
        S = torch.zeros(batch, inner // self.size, state, self.size, device=device, dtype=exact)
        past = None if self.taps is None else (batch, self.kernel - 1, inner + 2 * state)
        return Space(S, None if past is None else torch.zeros(past, device=device, dtype=dtype))

    def forward(self, x: Tensor, layout: Layout, state: Space | None = None) -> tuple[Tensor, Space | None]:
        t, past = self.inputs(x, layout, None if state is None else state.past)
        old = self.empty(x).S if state is None else state.S
        starts = None if state is None and layout.segments is None else layout.starts
        with torch.autocast(x.device.type, enabled=False):
            y, S = sum_rule(t.C, t.B, t.dt[..., None] * t.x, old, self.decay(t), starts)
        return self.combine(y, t, x), None if state is None else Space(S, past)

    def write(self, x: Tensor, layout: Layout, state: Space | None = None) -> Space:
        state = self.empty(x) if state is None else state
        t, past = self.inputs(x, layout, state.past)
        with torch.autocast(x.device.type, enabled=False):
            S = sum_write(t.B, t.dt[..., None] * t.x, state.S, self.decay(t), layout.starts)
        return Space(S, past)

    def read(self, x: Tensor, layout: Layout, state: Space) -> Tensor:
        if "read" in self.cannot:
            raise UserError(self.cannot["read"])
        t, _ = self.inputs(x, layout, None)
        with torch.autocast(x.device.type, enabled=False):
            y = product(t.C, state.S)
        return self.combine(y, t, x)

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        raise UserError(ORDER)

    def inputs(self, x: Tensor, layout: Layout, past: Tensor | None) -> tuple[Terms, Tensor | None]:
        """Returns terms in the precision of the state, and what the convolution still sees."""
        z, u, dt = torch.split(self.project(x), self.parts, -1)
        if self.taps is not None and self.taps_bias is not None:
            taps, past = before(u, layout, self.kernel, 1, past)
            u = depthwise(taps, self.taps) + self.taps_bias
        exact = torch.promote_types(self.project.weight.dtype, torch.float32)
        v, B, C = torch.split(F.silu(u.to(exact)), self.terms, -1)
        dt = (
            by_number(F.softplus, dt.to(exact) + self.dt_bias.to(exact)) * layout.valid[..., None]
        )  # padding takes no time
        return Terms(v.unflatten(-1, (-1, self.size)).transpose(1, 2), B[:, None], C[:, None], dt.mT, z), past

    def decay(self, t: Terms) -> Tensor:
        """log exp(dt_t A), A = -exp(A_log): (B, H, T)."""
        return -self.A_log.to(t.dt.dtype).exp()[:, None] * t.dt

    def combine(self, y: Tensor, t: Terms, x: Tensor) -> Tensor:
        y = (y + self.D.to(y.dtype)[:, None, None] * t.x).transpose(1, 2).flatten(2)  # (B, T, I)
        return self.out(self.norm((y * F.silu(t.z.to(y.dtype))).to(self.norm.weight.dtype)).to(x.dtype))

    def empty(self, x: Tensor) -> Space:
        return self.init_state(x.shape[0], x.shape[1], device=x.device, dtype=self.project.weight.dtype)


def rates(shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    """log of U(1, 16)."""
    return torch.empty(shape).uniform_(1, 16, generator=g).log()


def steps(shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    """Returns the b for which softplus(b) is log-uniform in [0.001, 0.1]."""
    return torch.empty(shape).uniform_(math.log(1e-3), math.log(1e-1), generator=g).exp().expm1().log()


@dataclass(frozen=True, kw_only=True)
class SSMConfig(MixerConfig):
    """S_t = exp(dt_t A) S_{t-1} + dt_t B_t x_t^T, y_t = C_t S_t + D x_t.   Mamba-2: Dao & Gu 2024, arXiv:2405.21060.

    state: N, rows of S.
    expand: the I features of x are so many widths.
    size: features of a head (None: 64, or the largest divisor of I below).
    conv: tokens that the convolution before x, B and C sees; 0: it has none.
    """

    kind: ClassVar[str] = "ssm"
    in_order: ClassVar[bool] = True
    state: int = 64
    expand: int = 2
    size: int | None = None
    conv: int = 4

    def __post_init__(self) -> None:
        require_at_least(1, state=self.state, expand=self.expand, size=self.size)
        if self.conv == 1 or self.conv < 0:
            raise UserError(f"conv={self.conv} sees no other token; use 4, or 0 for no convolution")

    def head_dim(self, width: int) -> int:
        inner = self.expand * width
        fit = max(d for d in range(1, min(self.size or 64, inner) + 1) if inner % d == 0)
        if self.size not in (None, fit):
            raise UserError(f"size={self.size} does not divide expand * width = {inner}; try size={fit}")
        return fit

    def queries(self, width: int) -> Queries | None:
        self.head_dim(width)
        return None

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [cls(state=6, size=8), cls(state=5, size=16, expand=3, conv=2), cls(state=7, size=4, expand=1, conv=0)]

    def build(self, width: int, positions: Positions) -> Mixer:
        return SSM(self, width)
