"""Retention: linear attention whose memory fades at a rate of its own in every head.

Tested in tests/model/mixers/test_matrix_memories.py.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.init.init import Initialiser, values
from transduce.model.layout import Layout
from transduce.model.mixers.matrix import MatrixConfig, MatrixMemory, PerHead, Written, precise, rms_normed
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.linear import sum_rule, sum_write
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles

REASON = "a memory that fades depends on order; wrap it in bidirectional"


class Retention(MatrixMemory):
    """`rate`: the logits of gamma, which are not trained."""

    roles: ClassVar[Roles] = {**MatrixMemory.roles, "gate.weight": "adds"}
    cannot: ClassVar[dict[str, str]] = {"encode": REASON}
    tp_plan: ClassVar[dict[str, str]] = {**MatrixMemory.tp_plan, "gate": "columns", "rate": "columns"}

    def __init__(self, config: "RetentionConfig", width: int, positions: Positions) -> None:
        super().__init__(config, width, positions)
        self.gate = nn.Linear(width, config.heads * self.head_dim, bias=config.bias)
        self.rate = PerHead(config.heads).requires_grad_(False)
        self.norm = nn.RMSNorm(self.head_dim, eps=1e-6)

    def start(self) -> dict[str, Initialiser]:
        return {"rate.weight": values(lambda shape, _: rates(shape[0]))}

    def strengths(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return None, F.logsigmoid(precise(self.rate.weight)).expand(1, x.shape[1], -1)

    def rule(self, q: Tensor, w: Written, S: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
        return sum_rule(q, w.k, w.v, S, w.log_decay, starts)

    def add(self, w: Written, S: Tensor, starts: Tensor | None) -> Tensor:
        return sum_write(w.k, w.v, S, w.log_decay, starts)

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        return rms_normed(self.norm, y) * F.silu(precise(self.heads(self.gate(x))))

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        raise UserError(REASON)


def rates(heads: int) -> Tensor:
    """Returns the logits of gamma_h = 1 - 2^(-5-h)."""
    return (2.0 ** (5 + torch.arange(heads, dtype=torch.float64)) - 1).log()


@dataclass(frozen=True, kw_only=True)
class RetentionConfig(MatrixConfig):
    """y_t = q_t S_t, S_t = gamma_h S_{t-1} + k_t v_t^T, gamma_h = 1 - 2^(-5-h).   Sun et al. 2023, arXiv:2307.08621.

    Then W (norm(y_t) * silu(gate x_t)), the RMS norm of each head. gamma_h, h = 0, 1, ..., is not trained. The paper's
    q and k are turned (positions=rotary), its values are twice as wide as its keys; here they are as wide.
    """

    kind: ClassVar[str] = "retention"
    in_order: ClassVar[bool] = True
    positions: ClassVar[frozenset[str]] = frozenset({"turn"})

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [cls(), cls(heads=2, bias=True), cls(heads=3, size=6)]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Retention(self, width, positions)
