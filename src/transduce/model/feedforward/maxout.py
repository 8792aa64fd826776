"""Units that are the largest of several linear ones.

Tested in tests/model/test_feedforward.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.roles import Roles


class Maxout(nn.Module):
    """down(max over the pieces of up x), or without down. The pieces of a unit stand side by side."""

    roles: ClassVar[Roles] = {"up.weight": "adds", "down.weight": "writes"}
    tp_plan: ClassVar[dict[str, str]] = {"up": "columns", "down": "rows"}

    def __init__(self, width: int, hidden: int, pieces: int, bias: bool, down: bool) -> None:
        super().__init__()
        self.up, self.pieces = nn.Linear(width, hidden * pieces, bias=bias), pieces
        self.down = nn.Linear(hidden, width, bias=bias) if down else nn.Identity()
        if not down:  # the units are the stream, of which a rank needs all
            self.tp_plan = {}  # pyright: ignore[reportAttributeAccessIssue]

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x).unflatten(-1, (-1, self.pieces)).amax(-1))


@dataclass(frozen=True, kw_only=True)
class MaxoutConfig(FeedForwardConfig):
    """down(h), h_i = max_j (W_ij x + b_ij).   Goodfellow et al. 2013, arXiv:1302.4389, eq. 2.

    hidden: units (None: four times the width, or the width without down).
    pieces: linear maps whose largest a unit is.
    bias: whether the maps have one.
    down: whether a linear map leads back to the width; without it, this is the layer before the logits of Cho et al.
        2014 and Bahdanau et al. 2014.
    """

    kind: ClassVar[str] = "maxout"
    hidden: int | None = None
    pieces: int = 2
    bias: bool = True
    down: bool = True

    def __post_init__(self) -> None:
        require_at_least(1, hidden=self.hidden)
        require_at_least(2, pieces=self.pieces)

    def build(self, width: int) -> nn.Module:
        hidden = self.hidden or (4 * width if self.down else width)
        if not self.down and hidden != width:
            raise UserError(f"hidden={hidden} units do not join a stream of width={width}; leave out hidden, or down")
        return Maxout(width, hidden, self.pieces, self.bias, self.down)
