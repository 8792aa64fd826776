"""Linear attention: the memory is a sum of outer products of keys and values.

Tested in tests/model/test_laws.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.mixers.matrix import MatrixConfig, MatrixMemory, Written, rms_normed
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.features import Feature, feature_map, require_nu
from transduce.model.ops.linear import sum_rule, sum_write
from transduce.model.positions.position import Positions

EPS = 1e-6


class Linear(MatrixMemory):
    """Normalised, a last column of ones among the values sums up the keys: z_t = sum phi(k), and q z_t divides."""

    def __init__(self, config: "LinearConfig", width: int, positions: Positions) -> None:
        super().__init__(config, width, positions)
        self.map, self.size = feature_map(config.feature, self.head_dim, config.nu, config.features, config.seed)
        self.normalise = config.normalise
        self.norm = nn.RMSNorm(self.head_dim, eps=EPS) if config.normed else None

    def shape(self) -> tuple[int, int]:
        return self.size, self.head_dim + self.normalise

    def phi(self, x: Tensor) -> Tensor:
        return self.map(x)

    def value(self, v: Tensor) -> Tensor:
        return torch.cat([v, torch.ones_like(v[..., :1])], -1) if self.normalise else v

    def rule(self, q: Tensor, w: Written, S: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
        return sum_rule(q, w.k, w.v, S, starts=starts)

    def add(self, w: Written, S: Tensor, starts: Tensor | None) -> Tensor:
        return sum_write(w.k, w.v, S, starts=starts)

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        y = y[..., :-1] / (y[..., -1:] + EPS) if self.normalise else y
        return y if self.norm is None else rms_normed(self.norm, y)


@dataclass(frozen=True, kw_only=True)
class LinearConfig(MatrixConfig):
    """y_t = phi(q_t) S_t / (phi(q_t) z_t), S_t = sum phi(k) v^T, z_t = sum phi(k).   Katharopoulos et al. 2020.

    arXiv:2006.16236; random features: Choromanski et al. 2020, arXiv:2009.14794; dpfp, and no normalising: Schlag, Irie
    & Schmidhuber 2021, arXiv:2102.11174.

    feature: phi; "identity" is only for normalise=false, as it may be negative.
    nu: shifts of dpfp.
    features: of favor (None: D ln D).
    seed: of the projection of favor.
    normalise: divide by q z (plus 1e-6).
    output_norm: RMS norm of each head (None: unless normalised, since a sum grows with the sequence).
    """

    kind: ClassVar[str] = "linear"
    positions: ClassVar[frozenset[str]] = frozenset({"turn"})
    feature: Feature = "elu"
    nu: int = 1
    features: int | None = None
    seed: int = 0
    normalise: bool = True
    output_norm: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(1, features=self.features)
        if self.normalise and self.feature == "identity":
            raise UserError(
                "feature=identity may be negative, and nothing to divide by; use normalise=false, or feature=elu"
            )

    @property
    def normed(self) -> bool:
        return not self.normalise if self.output_norm is None else self.output_norm

    def head_dim(self, width: int) -> int:
        size = super().head_dim(width)
        if self.feature == "dpfp":
            require_nu(self.nu, size)
        return size

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        # Where q k is next to 0, dividing by it, or by a norm, multiplies the rounding of float32: heads are not small.
        return [
            cls(),
            cls(heads=2, size=20, feature="dpfp", nu=2, bias=True),
            cls(heads=2, feature="favor", features=11),
            cls(heads=2, size=16, feature="relu", output_norm=True),
            cls(heads=1, feature="identity", normalise=False),
            cls(heads=2, feature="dpfp", normalise=False, output_norm=False),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Linear(self, width, positions)
