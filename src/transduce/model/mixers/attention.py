"""Softmax attention: the memory is the list of all keys and values."""

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least, require_probability
from transduce.model.layout import Layout, Visibility
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.attention import attend
from transduce.model.positions.position import Positions, Queries


class Memory(NamedTuple):
    """Keys and values of a whole sequence, written at once. None: no padding; one document per row."""

    keys: Tensor  # (B, N, G, D)
    values: Tensor  # (B, N, G, D)
    positions: Tensor | None = None  # (B, N), -1 = padding
    segments: Tensor | None = None  # (B, N)


class KVCache(NamedTuple):
    """Keys and values of what one row has read so far.

    A token lies in the slot of its position (modulo the window, if there is one), so a new document overwrites the old
    one and what it has not overwritten yet lies ahead, where causality hides it. Padding goes to the last slot.
    """

    keys: Tensor  # (B, N + 1, G, D)
    values: Tensor  # (B, N + 1, G, D)
    positions: Tensor  # (B, N + 1), -1 = empty


class Attention(Mixer):
    """softmax(q k^T / sqrt(D)) v in H heads, H/G of them per key head.   Vaswani et al. 2017; Ainslie et al. 2023."""

    tp_plan: ClassVar[dict[str, str]] = {"q": "columns", "k": "columns", "v": "columns", "out": "rows"}
    by_document: ClassVar[bool] = True

    def __init__(self, config: "AttentionConfig", width: int, positions: Positions) -> None:
        super().__init__()
        self.head_dim = config.head_dim(width)
        self.rule, self.p = Visibility(causal=True, window=config.window, sinks=config.sinks), config.dropout
        self.around = Visibility(causal=False, window=config.window, sinks=config.sinks)
        groups = config.kv_heads or config.heads
        self.q = nn.Linear(width, config.heads * self.head_dim, bias=config.bias)
        self.k = nn.Linear(width, groups * self.head_dim, bias=config.bias)
        self.v = nn.Linear(width, groups * self.head_dim, bias=config.bias)
        self.out = nn.Linear(config.heads * self.head_dim, width, bias=config.bias)
        self.positions = positions

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> KVCache:
        if self.rule.window is not None:
            max_len = min(max_len, self.rule.window + self.rule.sinks)
        shape = (batch, max_len + 1, self.k.out_features // self.head_dim, self.head_dim)
        empty = torch.full(shape[:2], -1, device=device)
        return KVCache(
            torch.zeros(shape, device=device, dtype=dtype), torch.zeros(shape, device=device, dtype=dtype), empty
        )

    def forward(self, x: Tensor, layout: Layout, state: KVCache | None = None) -> tuple[Tensor, KVCache | None]:
        q, k, v = self.queries(x), self.heads(self.k(x)), self.heads(self.v(x))
        q, k = self.positions.turn(q, k, layout.positions)
        if state is None:
            # Padding on the right lies ahead of all tokens, and a window as wide as the row hides nothing.
            wide = self.rule.window is None or self.rule.window >= x.shape[1]
            simple = layout.segments is None and wide
            mask = None if simple else self.rule.mask(layout, layout.positions, layout.segments)
            return self.combine(q, k, v, mask, causal=simple), None
        if x.shape[1] == 1 or (layout.segments is None and self.rule.window is None):
            simple = self.rule.window is None and not layout.padded  # then a slot is a position
            slots = layout.positions if simple else self.slots(layout.positions, state)
            state = store(state, k, v, slots, layout.positions)
            seen = trim(state) if self.rule.window is None else state
            mask = self.rule.mask(layout, seen.positions, None)
            return self.combine(q, seen.keys, seen.values, mask), state
        # Several tokens that may begin documents, or fall out of the window while the chunk is read: look at the old
        # memory and the chunk side by side, then store what the last document of each row leaves.
        document = layout.starts.cumsum(1)
        first = torch.where(layout.valid & (document == 0), layout.positions, 1 << 62).amin(1, keepdim=True)
        old = torch.where(state.positions < first, state.positions, -1)
        places, members = torch.cat([old, layout.positions], 1), torch.cat([torch.zeros_like(old), document], 1)
        mask = self.rule.mask(Layout(layout.positions, document), places, members)
        y = self.combine(q, torch.cat([state.keys, k], 1), torch.cat([state.values, v], 1), mask)
        places = self.kept(layout.positions, document)
        return y, store(state, k, v, self.slots(places, state), places)

    def write(self, x: Tensor, layout: Layout, state: KVCache | None = None) -> Memory | KVCache:
        k, v = self.heads(self.k(x)), self.heads(self.v(x))
        _, k = self.positions.turn(k, k, layout.positions)
        if state is not None:
            places = self.kept(layout.positions, layout.starts.cumsum(1))
            return store(state, k, v, self.slots(places, state), places)
        if not layout.padded and self.rule.window is None:
            return Memory(k, v)
        return Memory(k, v, layout.positions, layout.segments)

    def read(self, x: Tensor, layout: Layout, state: Memory | KVCache) -> Tensor:
        q, _ = self.positions.turn(q := self.queries(x), q, layout.positions)
        if isinstance(state, KVCache):
            return self.combine(q, state.keys, state.values, self.around.mask(layout, state.positions, None))
        if state.positions is None:
            return self.combine(q, state.keys, state.values, None)
        if self.rule.window is None and (layout.segments is None or state.segments is None):
            return self.combine(q, state.keys, state.values, (state.positions >= 0)[:, None, None])
        return self.combine(q, state.keys, state.values, self.around.mask(layout, state.positions, state.segments))

    def heads(self, x: Tensor) -> Tensor:
        """(B, T, heads * D) -> (B, T, heads, D), however many heads this rank holds."""
        return x.view(*x.shape[:2], -1, self.head_dim)

    def queries(self, x: Tensor) -> Tensor:
        return self.heads(self.q(x))

    def combine(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
        p = self.p if self.training else 0.0
        return self.out(attend(q, k.to(q.dtype), v.to(q.dtype), mask, causal=causal, p=p))

    def slots(self, positions: Tensor, state: KVCache) -> Tensor:
        """(B, T) where each token goes: its position, wrapped behind the sinks where there is a window."""
        last = state.keys.shape[1] - 1
        slot = positions
        if self.rule.window is not None:
            sinks = self.rule.sinks
            slot = torch.where(slot < sinks, slot, sinks + (slot - sinks) % max(1, last - sinks))
        return torch.where(positions < 0, last, slot)

    def kept(self, positions: Tensor, document: Tensor) -> Tensor:
        """Positions with -1 for tokens that a later one of the chunk pushes out: other documents, beyond the window."""
        kept = document == document[:, -1:]
        if self.rule.window is not None:
            last = torch.where(kept, positions, -1).amax(1, keepdim=True)
            kept = kept & ((positions > last - self.rule.window) | (positions < self.rule.sinks))
        return torch.where(kept, positions, -1)


def store(state: KVCache, k: Tensor, v: Tensor, slots: Tensor, positions: Tensor) -> KVCache:
    """The cache with tokens k, v: (B, T, G, D) in slots (B, T). In place, unless a gradient needs the old one."""
    rows = torch.arange(k.shape[0], device=k.device)[:, None]
    put = torch.Tensor.index_put if torch.is_grad_enabled() else torch.Tensor.index_put_
    at, new = (rows, slots), (k.to(state.keys.dtype), v.to(state.values.dtype), positions)
    return KVCache(*(put(old, at, value) for old, value in zip(state, new, strict=True)))


def trim(state: KVCache) -> KVCache:
    """The slots in use. Only on a CPU, where asking for their number waits for nothing."""
    if state.keys.device.type != "cpu" or torch.compiler.is_compiling():
        return state
    return KVCache(*(field[:, : int(state.positions.amax()) + 1] for field in state))


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(MixerConfig):
    """Softmax attention.   Vaswani et al. 2017; grouped: Ainslie et al. 2023, arXiv:2305.13245.

    kv_heads: key heads, each shared by heads / kv_heads query heads; None: one per query head. window: tokens a query
    sees, itself included; None: all. sinks: first tokens seen whatever the window. A source is read without either.
    size: features of a head; None: width / heads. dropout: of attention weights.
    """

    kind: ClassVar[str] = "attention"
    positions: ClassVar[frozenset[str]] = frozenset({"turn", "bias"})
    heads: int = 4
    kv_heads: int | None = None
    size: int | None = None
    window: int | None = None
    sinks: int = 0
    bias: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.heads < 1 or (self.kv_heads is not None and not 1 <= self.kv_heads <= self.heads):
            raise UserError(
                f"heads={self.heads} and kv_heads={self.kv_heads} must be at least 1, and kv_heads at most heads"
            )
        if self.kv_heads is not None and self.heads % self.kv_heads:
            fit = max(d for d in range(1, self.kv_heads) if self.heads % d == 0)
            raise UserError(f"heads={self.heads} is not a multiple of kv_heads={self.kv_heads}; try kv_heads={fit}")
        require_probability(dropout=self.dropout)
        require_at_least(1, size=self.size)
        require_at_least(0, sinks=self.sinks)
        if self.window is not None and self.window < 1:
            raise UserError(f"window={self.window} lets no token see itself; use at least 1, or null for no window")

    def head_dim(self, width: int) -> int:
        if self.size is None and width % self.heads:
            fit = min((h for h in range(1, width + 1) if width % h == 0), key=lambda h: (abs(h - self.heads), h))
            raise UserError(
                f"heads={self.heads} does not divide width={width}; try heads={fit}, or give `size` per head"
            )
        return self.size or width // self.heads

    def queries(self, width: int) -> Queries:
        return Queries(self.heads, self.head_dim(width))

    def for_source(self) -> MixerConfig:
        return replace(self, window=None, sinks=0)

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        grouped, windowed = cls(heads=4, kv_heads=2), cls(heads=2, window=4)
        return [
            cls(heads=4),
            grouped,
            cls(heads=4, kv_heads=1, size=6, bias=False),
            windowed,
            cls(heads=2, window=3, sinks=2),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Attention(self, width, positions)
