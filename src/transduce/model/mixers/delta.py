"""The delta rule, and with a decay the gated delta rule: what is written is what the memory got wrong.

Tested in tests/model/test_laws.py.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.init.init import Initialiser, values
from transduce.model.layout import Layout
from transduce.model.mixers.matrix import MatrixConfig, MatrixMemory, PerHead, Written, precise, rms_normed
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.delta import delta_rule, delta_write
from transduce.model.ops.features import feature_map, require_nu, sum_normalised
from transduce.model.ops.rows import by_number
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles

REASON = "a memory that fades depends on order; wrap it in bidirectional"


def unit(x: Tensor) -> Tensor:
    """silu(x), of length 1."""
    return F.normalize(F.silu(x), dim=-1, eps=1e-6)


class Correcting(MatrixMemory):
    """A memory that is written by the delta rule, with a decay or without."""

    def rule(self, q: Tensor, w: Written, S: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
        assert w.beta is not None
        return delta_rule(q, w.k, w.v, w.beta, S, w.log_decay, starts)

    def add(self, w: Written, S: Tensor, starts: Tensor | None) -> Tensor:
        assert w.beta is not None
        return delta_write(w.k, w.v, w.beta, S, w.log_decay, starts)


class Delta(Correcting):
    """`beta`: how much of a correction is written, one number per head."""

    tp_plan: ClassVar[dict[str, str]] = {**MatrixMemory.tp_plan, "beta": "columns"}

    def __init__(self, config: "DeltaConfig", width: int, positions: Positions) -> None:
        super().__init__(config, width, positions)
        self.beta = nn.Linear(width, config.heads, bias=config.bias)
        self.summed = config.feature != "l2"
        if config.feature == "l2":
            self.map, self.size = unit, self.head_dim
        else:
            self.map, self.size = feature_map(config.feature, self.head_dim, config.nu, config.features, config.seed)
        self.norm = nn.RMSNorm(self.head_dim, eps=1e-6) if config.normed else None

    def shape(self) -> tuple[int, int]:
        return self.size, self.head_dim

    def phi(self, x: Tensor) -> Tensor:
        return sum_normalised(self.map(x)) if self.summed else self.map(x)

    def strengths(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return by_number(torch.sigmoid, precise(self.beta(x))), None

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        return y if self.norm is None else rms_normed(self.norm, y)


class GatedDelta(Correcting):
    """`decay` and `rate`: log a = -exp(rate) softplus(decay x), one number per head. `gate`: silu, of what is read."""

    roles: ClassVar[Roles] = {**MatrixMemory.roles, "gate.weight": "adds"}
    cannot: ClassVar[dict[str, str]] = {"encode": REASON}
    tp_plan: ClassVar[dict[str, str]] = {
        **MatrixMemory.tp_plan, "beta": "columns", "decay": "columns", "rate": "columns", "gate": "columns",
    }  # fmt: skip

    def __init__(self, config: "GatedDeltaConfig", width: int, positions: Positions) -> None:
        super().__init__(config, width, positions)
        self.beta = nn.Linear(width, config.heads, bias=config.bias)
        self.decay, self.rate = nn.Linear(width, config.heads), PerHead(config.heads)
        self.gate = nn.Linear(width, config.heads * self.head_dim, bias=config.bias)
        self.norm = nn.RMSNorm(self.head_dim, eps=1e-6)

    def start(self) -> dict[str, Initialiser]:
        return {"decay.bias": values(slow), "rate.weight": values(rates)}

    def phi(self, x: Tensor) -> Tensor:
        return unit(x)

    def strengths(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        log_decay = -precise(self.rate.weight).exp() * by_number(F.softplus, precise(self.decay(x)))
        return by_number(torch.sigmoid, precise(self.beta(x))), log_decay

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        return rms_normed(self.norm, y) * F.silu(precise(self.heads(self.gate(x))))

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        raise UserError(REASON)


def rates(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """log of U(1, 16), as in Mamba 2 (Dao & Gu 2024, arXiv:2405.21060)."""
    return (1 + 15 * torch.rand(shape, generator=generator)).log()


def slow(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Returns the b for which softplus(b) is between 0.001 and 0.1, log uniform: the same source."""
    low, high = math.log(1e-3), math.log(1e-1)
    step = (low + (high - low) * torch.rand(shape, generator=generator)).exp()
    return step + (-torch.expm1(-step)).log()


@dataclass(frozen=True, kw_only=True)
class DeltaConfig(MatrixConfig):
    """y_t = S_t^T q_t, S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T.   Schlag et al. 2021, arXiv:2102.11174.

    Here k and q are features of maps of x_t, and beta_t is the sigmoid of a map of x_t. An encoder writes all, in
    order, and then every token asks what is left: of two values for one key the later one.

    feature: phi; "dpfp" is the paper's; each, but "l2", is divided by its sum, so that no write overshoots; "l2": silu,
        of length 1 (Yang et al. 2024, arXiv:2406.06484, here without their convolution).
    nu: shifts of dpfp.
    features: of favor (None: D ln D).
    seed: of the projection of favor.
    output_norm: RMS norm of each head (None: with "l2" only, as in the papers).
    """

    kind: ClassVar[str] = "delta"
    feature: Literal["dpfp", "elu", "relu", "favor", "l2"] = "dpfp"
    nu: int = 1
    features: int | None = None
    seed: int = 0
    output_norm: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, features=self.features)

    @property
    def normed(self) -> bool:
        return self.feature == "l2" if self.output_norm is None else self.output_norm

    def head_dim(self, width: int) -> int:
        size = super().head_dim(width)
        if self.feature == "dpfp":
            require_nu(self.nu, size)
        return size

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [
            cls(heads=2),
            cls(heads=2, size=6, nu=2, bias=True),
            cls(heads=2, feature="l2"),
            cls(heads=3, size=5, feature="elu", output_norm=True),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Delta(self, width, positions)


@dataclass(frozen=True, kw_only=True)
class GatedDeltaConfig(MatrixConfig):
    """S_t = a_t S_{t-1} + beta_t k_t (v_t - a_t S_{t-1}^T k_t)^T.   Yang, Kautz & Hatamizadeh 2024, arXiv:2412.06464.

    y_t = W (norm(S_t^T q_t) * silu(gate x_t)), q and k silu of length 1, beta_t the sigmoid of a map of x_t, log a_t =
    -exp(A) softplus(W_a x_t + b) per head. Here without the paper's short convolutions before q, k and v.
    """

    kind: ClassVar[str] = "gated-delta"
    in_order: ClassVar[bool] = True

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [cls(heads=2), cls(heads=2, size=6, bias=True), cls(heads=3, size=5)]

    def build(self, width: int, positions: Positions) -> Mixer:
        return GatedDelta(self, width, positions)
