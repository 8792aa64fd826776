"""Attention in blocks of tokens: to neighbours, to both ends, and to a few blocks drawn at random."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least, require_probability
from transduce.model.layout import Layout, documents
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.attention import attend
from transduce.model.positions.position import Positions, Queries
from transduce.model.roles import Roles
from transduce.model.state import State

REASON = "block-sparse attention sees both ends of a text; use it in an encoder, or attention with a window"
ODD = 0x9E3779B97F4A7C1  # of the multiplicative hash; products wrap


class BlockSparse(Mixer):
    """softmax(q k^T / sqrt(D)) v, where a block of queries sees some blocks of keys. See `BlockSparseConfig`."""

    no_plan = "the blocks that are drawn differ from head to head"
    roles: ClassVar[Roles] = {"v.weight": "adds", "out.weight": "writes"}
    cannot: ClassVar[dict[str, str]] = {"forward": REASON, "write": REASON, "read": REASON}

    def __init__(self, config: "BlockSparseConfig", width: int, positions: Positions) -> None:
        super().__init__()
        self.config, self.head_dim, self.positions = config, config.head_dim(width), positions
        inner = config.heads * self.head_dim
        self.q, self.k, self.v = (nn.Linear(width, inner, bias=config.bias) for _ in range(3))
        self.out = nn.Linear(inner, width, bias=config.out_bias)

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return None

    def forward(self, x: Tensor, layout: Layout, state: State = None) -> tuple[Tensor, State]:
        raise UserError(REASON)

    def write(self, x: Tensor, layout: Layout, state: State = None) -> State:
        raise UserError(REASON)

    def read(self, x: Tensor, layout: Layout, state: State) -> Tensor:
        raise UserError(REASON)

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        if layout.segments is not None:
            each = documents(layout)
            return each.join(self.encode(each.split(x), each.layout))
        q, k, v = (f(x).view(*x.shape[:2], -1, self.head_dim) for f in (self.q, self.k, self.v))
        q, k = self.positions.turn(q, k, layout.positions)
        return self.out(self.combine(q, k, v, layout.lengths))

    def combine(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None) -> Tensor:
        """Returns what queries see of keys, (B, T, H, D) all; the first lengths (B,) of each row are real.

        Short rows and long ones take different ways, since each row must give what it gives alone. That looks at the
        data.
        """
        tokens, short = q.shape[1], self.config.short
        if lengths is None:
            lengths = torch.full((q.shape[0],), tokens, device=q.device)
        if tokens <= short:
            return self.full(q, k, v, lengths)
        y = q.new_zeros(*q.shape[:2], q.shape[2] * self.head_dim)
        for of_size, size, f in ((lengths <= short, short, self.full), (lengths > short, tokens, self.sparse)):
            rows = of_size.nonzero()[:, 0]
            if len(rows):
                part = f(q[rows, :size], k[rows, :size], v[rows, :size], lengths[rows])
                y = y.index_put((rows,), F.pad(part, (0, 0, 0, tokens - size)).to(y.dtype))
        return y

    def full(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor) -> Tensor:
        """Lets every token see all of its row."""
        real = torch.arange(k.shape[1], device=k.device) < lengths[:, None]
        return attend(q, k, v, real[:, None, None], p=self.p)

    def sparse(self, q: Tensor, k: Tensor, v: Tensor, lengths: Tensor) -> Tensor:
        """Lets inner blocks see 5 + R of them, the first and the last all: time and memory grow with T, not T^2."""
        block, tokens = self.config.block, q.shape[1]
        q, k, v = (F.pad(x, (0, 0, 0, 0, 0, -tokens % block)) for x in (q, k, v))
        rows, _, heads, size = q.shape
        last = (lengths - 1) // block
        seen, counts = self.seen(last, q.shape[1] // block, heads)  # (B, H, nb, S)
        inside = seen[..., None] * block + torch.arange(block, device=q.device)
        mask = counts[..., None] & (inside < lengths[:, None, None, None, None])  # (B, H, nb, S, b)
        one = q.reshape(-1, block, heads, size)
        y = attend(one, self.gathered(k, seen), self.gathered(v, seen), self.rowed(mask).mT[:, :, None], p=self.p)
        y = y.view(rows, -1, heads * size)
        # the first and the last block, wherever in the row that is
        ends = torch.stack([torch.zeros_like(last), last], 1)[..., None] * block + torch.arange(block, device=q.device)
        ends = ends.flatten(1)[..., None]
        real = torch.arange(k.shape[1], device=k.device) < lengths[:, None]
        all_of = attend(q.take_along_dim(ends[..., None], 1), k, v, real[:, None, None], p=self.p)
        return y.scatter(1, ends.expand_as(all_of), all_of.to(y.dtype))[:, :tokens]

    def gathered(self, x: Tensor, seen: Tensor) -> Tensor:
        """Returns blocks `seen` (B, H, nb, S) of x (B, nb b, H, D) -> (B nb, S b, H, D)."""
        rows, _, heads, size = x.shape
        blocks = x.view(rows, -1, self.config.block, heads, size).permute(0, 3, 1, 2, 4).flatten(3)  # (B, H, nb, b D)
        gathered = blocks.take_along_dim(seen.flatten(2)[..., None], 2).view(*seen.shape, self.config.block, -1)
        return gathered.permute(0, 2, 3, 4, 1, 5).flatten(0, 1).flatten(1, 2)

    def rowed(self, mask: Tensor) -> Tensor:
        """(B, H, nb, S, b) -> (B nb, S b, H)."""
        return mask.permute(0, 2, 3, 4, 1).flatten(0, 1).flatten(1, 2)

    def seen(self, last: Tensor, blocks: int, heads: int) -> tuple[Tensor, Tensor]:
        """Returns the blocks that each block of queries sees, and whether each of them counts: (B, H, nb, 5 + R).

        last: (B,) the last block of each row. No block counts twice, but for the first where nothing is drawn.
        """
        at = torch.arange(blocks, device=last.device)
        i, end = at[None, :], last[:, None]
        near = torch.stack([i - 1, i, i + 1], -1).expand(len(last), -1, -1)  # (B, nb, 3)
        inner = (near > 0) & (near < end[..., None])
        first = torch.zeros_like(near[..., :1])
        fixed = torch.cat([first, end[..., None].expand_as(first), near.clamp(0, blocks - 1)], -1)
        counts = torch.cat([torch.ones_like(inner[..., :2]), inner], -1)
        fixed, counts = (x[:, None].expand(-1, heads, -1, -1) for x in (fixed, counts))
        if not self.config.random:
            return fixed, counts
        if not self.config.drawn:
            random = fixed.new_zeros(*fixed.shape[:-1], self.config.random)
        else:
            far = ((at[:, None] - at).abs() > 1) & (at > 0) & (at < end[..., None])  # (B, nb, nb)
            lots = lottery(heads, blocks, self.config.seed, last.device).masked_fill(~far[:, None], -1)
            random = lots.topk(self.config.random, -1).indices
        return torch.cat([fixed, random], -1), torch.cat([counts, torch.ones_like(random, dtype=torch.bool)], -1)

    @property
    def p(self) -> float:
        return self.config.dropout if self.training else 0.0


def lottery(heads: int, blocks: int, seed: int, device: torch.device) -> Tensor:
    """(H, nb, nb) int64, at least 0: the lot of key block j for query block i, a hash of seed, head, i and j, so that
    it is the same on every machine, in every batch and at every length."""
    h, i, j = (torch.arange(n, device=device) for n in (heads, blocks, blocks))
    x = ((seed * 1009 + h[:, None, None]) * 65537 + i[:, None]) * 65537 + j
    for _ in range(2):
        x = (x ^ (x >> 29)) * ODD
    return (x ^ (x >> 32)) & 0x7FFFFFFF


@dataclass(frozen=True, kw_only=True)
class BlockSparseConfig(MixerConfig):
    """Blocks see the first and the last one, neighbours, and some at random.   Zaheer et al. 2020, arXiv:2007.14062.

    BigBird, ITC (sec. 2 and app. D). The first and the last block see all, as does all of a text of at most
    (5 + 2 random) block tokens.

    heads: how many.
    size: features of a head (None: width / heads).
    block: tokens of a block.
    random: further blocks that each head of a block sees, drawn once for all.
    drawn: without it the first block counts once more in place of each of these, as transformers computes outside of
        training.
    seed: of the blocks that are drawn.
    bias: of queries, keys and values.
    out_bias: of the last map.
    dropout: of attention weights.
    """

    kind: ClassVar[str] = "block-sparse"
    positions: ClassVar[frozenset[str]] = frozenset({"turn"})
    heads: int = 4
    size: int | None = None
    block: int = 64
    random: int = 3
    drawn: bool = True
    seed: int = 0
    bias: bool = True
    out_bias: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, heads=self.heads, size=self.size, block=self.block)
        require_at_least(0, random=self.random, seed=self.seed)
        require_probability(dropout=self.dropout)

    @property
    def short(self) -> int:
        """Returns the tokens of the longest text that is read whole."""
        return (5 + 2 * self.random) * self.block

    def head_dim(self, width: int) -> int:
        if self.size is None and width % self.heads:
            raise UserError(f"heads={self.heads} does not divide width={width}; choose one that does, or give `size`")
        return self.size or width // self.heads

    def queries(self, width: int) -> Queries:
        return Queries(self.heads, self.head_dim(width))

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [
            cls(heads=2, block=1, random=1),
            cls(heads=4, block=2, random=0, bias=False, out_bias=False),
            cls(heads=2, size=6, block=1, random=1, drawn=False),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return BlockSparse(self, width, positions)
