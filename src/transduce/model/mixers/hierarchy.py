"""A hierarchy of small mixers: blocks of tokens, blocks of summaries of blocks, and so on."""

from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least, require_at_most
from transduce.model.layout import Layout, dense, documents, right_padded
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.bidirectional import in_encoder
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import Positions, Queries
from transduce.model.state import State

REASON = "a hierarchy reads whole blocks, later tokens included; use it in an encoder"


class Hierarchy(Mixer):
    """y^l = mix(x^l inside blocks) + y^{l+1} of the block,  x^{l+1} = one vector of each block of mix(x^l)."""

    no_plan = "it is made of mixers, which have plans of their own"
    cannot: ClassVar[dict[str, str]] = {"forward": REASON, "write": REASON, "read": REASON}

    def __init__(self, config: "HierarchyConfig", width: int) -> None:
        super().__init__()
        self.block = config.block
        self.mixers = nn.ModuleList(config.inside.build(width, Positions()) for _ in range(config.levels))
        self.scores = nn.ModuleList(nn.Linear(width, 1, bias=False) for _ in range(config.levels - 1))

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return None

    def forward(self, x: Tensor, layout: Layout, state: State = None) -> tuple[Tensor, State]:
        raise UserError(REASON)

    def write(self, x: Tensor, layout: Layout, state: State = None) -> State:
        raise UserError(REASON)

    def read(self, x: Tensor, layout: Layout, state: State) -> Tensor:
        raise UserError(REASON)

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        if layout.segments is None:
            return self.climb(x, layout.lengths, 0)
        each = documents(layout)
        return each.join(self.climb(each.split(x), each.layout.lengths, 0))

    def climb(self, x: Tensor, lengths: Tensor | None, level: int) -> Tensor:
        """Returns what tokens or summaries (B, T, M), `lengths` (B,) of them real, know of their block and of all above
        it.
        """
        rows, tokens, width = x.shape
        count = -(-tokens // self.block)
        if tokens % self.block:
            x = F.pad(x, (0, 0, 0, count * self.block - tokens))
            lengths = torch.full((rows,), tokens, device=x.device) if lengths is None else lengths
        grid, filled = self.blocks(rows, count, lengths, x.device)
        y: Tensor = cast(Mixer, self.mixers[level]).encode(x.reshape(rows * count, self.block, width), grid)
        if level < len(self.scores):
            score: Tensor = self.scores[level](y)
            score = score.to(torch.promote_types(score.dtype, torch.float32))
            score = score.masked_fill(~grid.valid[..., None], torch.finfo(torch.float32).min)
            summary = (score.softmax(1).to(y.dtype) * y).sum(1)
            above = self.climb(summary.view(rows, count, width), filled, level + 1)
            y = y + above.reshape(rows * count, 1, width)
        return y.view(rows, count * self.block, width)[:, :tokens]

    def blocks(
        self, rows: int, count: int, lengths: Tensor | None, device: torch.device
    ) -> tuple[Layout, Tensor | None]:
        """Returns the layout of `count` blocks of each row, a block a row, and in how many of them there is a token."""
        if lengths is None:
            return dense(rows * count, self.block, device=device), None
        inside = (lengths[:, None] - self.block * torch.arange(count, device=device)).clamp(0, self.block)
        return right_padded(inside.flatten(), self.block), (inside > 0).sum(1)


@dataclass(frozen=True, kw_only=True)
class HierarchyConfig(MixerConfig):
    """Mix blocks of b tokens, sum up each block in a vector, mix blocks of these.   Culurciello 2018, The fall of RNN.

    Tokens b^levels apart reach each other in `levels` steps; those of different top blocks do not. A block y is summed
    up as softmax(w y) y, as words in Yang et al. 2016 (Hierarchical attention networks, without the context's tanh);
    going down, every token adds the vector that its block has from the level above. Blocks count from the start of the
    document.

    block: b, the tokens of a block.
    levels: how many levels of blocks there are.
    mixer: what mixes inside blocks, with weights of its own on each level; it learns of order only from positions that
        are added to the embedding.
    """

    kind: ClassVar[str] = "hierarchy"
    block: int = 16
    levels: int = 2
    mixer: MixerConfig = field(default_factory=AttentionConfig)

    def __post_init__(self) -> None:
        require_at_least(1, levels=self.levels)
        require_at_most(64, levels=self.levels)
        require_at_least(2, block=self.block)
        if self.mixer.absent:
            raise UserError(f"mixer={self.mixer.kind} mixes nothing inside blocks; use attention")

    @property
    def inside(self) -> MixerConfig:
        return in_encoder(self.mixer)

    def queries(self, width: int) -> Queries | None:
        self.inside.queries(width)  # which says whether they fit
        return None

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        from transduce.model.mixers.gru import GRUConfig

        return [
            cls(block=4, levels=2),
            cls(block=2, levels=4, mixer=AttentionConfig(heads=2)),
            cls(block=13, levels=1),
            cls(block=5, levels=3, mixer=GRUConfig()),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Hierarchy(self, width)
