"""The fast-weight controller of 1991: a slow network that programs a fast one.

Tested in tests/model/mixers/test_matrix_memories.py.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.mixers.matrix import MatrixConfig, MatrixMemory, Written, rms_normed
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.linear import squash_rule, sum_rule, sum_write
from transduce.model.positions.position import Positions, Queries

SQUASH = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}


class FastWeightController(MatrixMemory):
    """Slow: `k` (from) and `v` (to). Fast: the matrix they program, whose input is x itself, or `q` of it."""

    def __init__(self, config: "FastWeightsConfig", width: int, positions: Positions) -> None:
        super().__init__(config, width, positions)
        if config.query == "input":
            self.q = nn.Identity()
            self.tp_plan = {}  # pyright: ignore[reportAttributeAccessIssue]
            self.no_plan = "with query=input its heads ask with parts of x, of which every rank has all"
        self.squash = SQUASH.get(config.squash)
        self.norm = nn.RMSNorm(self.head_dim, eps=1e-6) if config.output_norm else None

    def rule(self, q: Tensor, w: Written, S: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.squash is None:
            return sum_rule(q, w.k, w.v, S, starts=starts)
        return squash_rule(q, w.k, w.v, S, self.squash, w.valid, starts)

    def add(self, w: Written, S: Tensor, starts: Tensor | None) -> Tensor:
        return sum_write(w.k, w.v, S, starts=starts) if self.squash is None else self.rule(w.k, w, S, starts)[1]

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        return y if self.norm is None else rms_normed(self.norm, y)


@dataclass(frozen=True, kw_only=True)
class FastWeightsConfig(MatrixConfig):
    """y_t = q_t W_t, W_t = squash(W_{t-1} + from_t to_t^T).   Schmidhuber 1992, Neural Computation 4(1), pp. 131-139.

    Here from_t and to_t are linear maps of x_t. With "sigmoid", W fills up and gradients fade. The last W of all is
    what an encoder asks. (The variant in which the slow network gives every entry of W a change of its own is not
    here.)

    heads: how many.
    query: the "input" x_t, or a third map of it.
    squash: of every entry of W at every token, which costs the form that is fast: "identity" is unnormalised linear
        attention, the others go token by token.
    output_norm: RMS norm of each head.
    """

    kind: ClassVar[str] = "fast-weights"
    heads: int = 1
    query: Literal["input", "project"] = "input"
    squash: Literal["identity", "tanh", "sigmoid"] = "identity"
    output_norm: bool = True

    def queries(self, width: int) -> Queries:
        queries = super().queries(width)
        if self.query == "input" and queries.heads * queries.head_dim != width:
            raise UserError(
                f"query=input needs heads * size = width, but they are {queries.heads} * {queries.head_dim} "
                f"and {width}; use query=project, or leave out size"
            )
        return queries

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [
            cls(),
            cls(heads=4, query="project", bias=True),
            cls(heads=2, squash="tanh", output_norm=False),
            cls(heads=3, size=5, query="project", squash="sigmoid"),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        self.queries(width)
        return FastWeightController(self, width, positions)
