"""A memory that is a matrix: heads, a state of constant size, and the precision of what is summed up.

Tested in tests/model/mixers/test_matrix_memories.py.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.rms_norm import rms_norm
from transduce.model.ops.rows import product
from transduce.model.positions.position import Positions, Queries
from transduce.model.roles import Roles


class FastWeights(NamedTuple):
    """A matrix per head: row p is what it answers to feature p of a query."""

    S: Tensor  # (B, H, P, E), float32 or float64


class Written(NamedTuple):
    """The writes of a sequence. At padding k and log_decay are 0, which writes nothing."""

    k: Tensor  # (B, H, T, P) features of the keys
    v: Tensor  # (B, H, T, E)
    beta: Tensor | None  # (B, H, T) how strongly
    log_decay: Tensor | None  # (B or 1, H, T) what is left of the matrix before
    valid: Tensor  # (B, T)


class MatrixMemory(Mixer):
    """Keys and values are written into a matrix per head, which queries are multiplied by.

    A kind says how they are written (`rule`, `add`), and where it differs, what its features, strengths and ends are.
    """

    roles: ClassVar[Roles] = {"v.weight": "adds", "out.weight": "writes"}
    same_input: ClassVar[tuple[str, ...]] = ("q", "k", "v")
    tp_plan: ClassVar[dict[str, str]] = {"q": "columns", "k": "columns", "v": "columns", "out": "rows"}

    def __init__(self, config: "MatrixConfig", width: int, positions: Positions) -> None:
        super().__init__()
        self.head_dim, self.positions = config.head_dim(width), positions
        inner = config.heads * self.head_dim
        self.q: nn.Module = nn.Linear(width, inner, bias=config.bias)
        self.k, self.v = (nn.Linear(width, inner, bias=config.bias) for _ in range(2))
        self.out = nn.Linear(inner, width, bias=config.bias)

    @abstractmethod
    def rule(self, q: Tensor, w: Written, S: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
        """Writes each token, then reads it. Returns what the queries find (B, H, T, E), and the last matrix."""

    @abstractmethod
    def add(self, w: Written, S: Tensor, starts: Tensor | None) -> Tensor:
        """Writes only. Returns the last matrix."""

    def shape(self) -> tuple[int, int]:
        """Returns P and E."""
        return self.head_dim, self.head_dim

    def phi(self, x: Tensor) -> Tensor:
        """Returns the features (..., P) of queries or keys (..., D)."""
        return x

    def value(self, v: Tensor) -> Tensor:
        """Returns what is written for values (..., D): (..., E)."""
        return v

    def strengths(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Returns beta and log_decay of tokens, both as (B, T, H), or (H,) for all (None: 1 and 0)."""
        return None, None

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        """Returns what tokens x found, (B, T, H, E), made ready for `out`: (B, T, H, D)."""
        return y

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> FastWeights:
        heads, exact = self.v.weight.shape[0] // self.head_dim, torch.promote_types(dtype, torch.float32)
        return FastWeights(torch.zeros(batch, heads, *self.shape(), device=device, dtype=exact))

    def forward(self, x: Tensor, layout: Layout, state: FastWeights | None = None) -> tuple[Tensor, FastWeights | None]:
        q, k = self.positions.turn(self.heads(self.q(x)), self.heads(self.k(x)), layout.positions)
        w, (S, starts) = self.writes(x, k, layout), self.begin(x, layout, state)
        with exactly(x):
            y, S_after = self.rule(self.features(q), w, S, starts)
        return self.leave(y, x), None if state is None else FastWeights(S_after)

    def write(self, x: Tensor, layout: Layout, state: FastWeights | None = None) -> FastWeights:
        _, k = self.positions.turn(k := self.heads(self.k(x)), k, layout.positions)
        w, (S, starts) = self.writes(x, k, layout), self.begin(x, layout, state)
        with exactly(x):
            return FastWeights(self.add(w, S, starts))

    def read(self, x: Tensor, layout: Layout, state: FastWeights) -> Tensor:
        q, _ = self.positions.turn(q := self.heads(self.q(x)), q, layout.positions)
        with exactly(x):
            q = self.features(q)
            y = product(q, state.S.to(q.dtype))
        return self.leave(y, x)

    def heads(self, x: Tensor) -> Tensor:
        """(B, T, heads * D) -> (B, T, heads, D), however many heads this rank holds."""
        return x.view(*x.shape[:2], -1, self.head_dim)

    def features(self, x: Tensor) -> Tensor:
        """(B, T, H, D) -> (B, H, T, P)."""
        return self.phi(precise(x).transpose(1, 2))

    def writes(self, x: Tensor, k: Tensor, layout: Layout) -> Written:
        """Returns what tokens x with keys k: (B, T, H, D) write."""
        v = self.value(precise(self.heads(self.v(x))).transpose(1, 2))
        beta, log_decay = self.strengths(x)
        with exactly(x):
            k = self.features(k)
        if layout.padded:
            k = k.masked_fill(~layout.valid[:, None, :, None], 0.0)
            log_decay = None if log_decay is None else log_decay.masked_fill(~layout.valid[..., None], 0.0)
        return Written(
            k, v, None if beta is None else beta.mT, None if log_decay is None else log_decay.mT, layout.valid
        )

    def begin(self, x: Tensor, layout: Layout, state: FastWeights | None) -> tuple[Tensor, Tensor | None]:
        """Returns the matrix before x, and where documents begin (None: only at the first token, if anywhere)."""
        weight = self.v.weight
        if state is not None:
            return state.S.to(torch.promote_types(weight.dtype, torch.float32)), layout.starts
        empty = self.init_state(x.shape[0], x.shape[1], device=x.device, dtype=weight.dtype).S
        return empty, None if layout.segments is None else layout.starts

    def leave(self, y: Tensor, x: Tensor) -> Tensor:
        """Maps (B, H, T, E) that tokens x found -> (B, T, M)."""
        return self.out(self.finish(y.transpose(1, 2), x).flatten(2).to(self.out.weight.dtype))


def precise(x: Tensor) -> Tensor:
    """Returns x in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def exactly(x: Tensor) -> torch.autocast:
    """Returns a context in which autocast lowers nothing: for what is summed up over a sequence."""
    return torch.autocast(x.device.type, enabled=False)


def rms_normed(norm: nn.RMSNorm, y: Tensor) -> Tensor:
    """Returns norm(y), in the precision of y, whatever that of its weights."""
    return rms_norm(y, precise(norm.weight), norm.eps or 0.0)


class PerHead(nn.Linear):
    """One number per head, `weight` (H,), which ranks share out like the columns of a projection."""

    def __init__(self, heads: int) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = 1, heads
        self.weight = nn.Parameter(torch.zeros(heads))
        self.register_parameter("bias", None)


@dataclass(frozen=True, kw_only=True)
class MatrixConfig(MixerConfig):
    """A matrix memory.

    heads: how many.
    size: features of a head (None: width / heads).
    bias: whether the maps have one.
    """

    heads: int = 4
    size: int | None = None
    bias: bool = False

    def __post_init__(self) -> None:
        require_at_least(1, heads=self.heads, size=self.size)

    def head_dim(self, width: int) -> int:
        if self.size is None and width % self.heads:
            fit = min((h for h in range(1, width + 1) if width % h == 0), key=lambda h: (abs(h - self.heads), h))
            raise UserError(
                f"heads={self.heads} does not divide width={width}; try heads={fit}, or give `size` per head"
            )
        return self.size or width // self.heads

    def queries(self, width: int) -> Queries:
        return Queries(self.heads, self.head_dim(width))
