"""A stack: blocks written as data, some of them repeated with the same weights."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from transduce.model.block import Block
from transduce.model.layout import Layout
from transduce.model.state import State


@dataclass(frozen=True)
class Repeat:
    """One block, with one set of weights, applied `times` times: ALBERT, the Universal Transformer."""

    block: Block
    times: int


class Stack(nn.Module):
    """enter, blocks, leave. State and memory are tuples with one entry per application of a block.

    blocks: in order; a `Repeat` is applied several times. enter, leave: the residual's ends of the stream.
    """

    def __init__(self, blocks: list[Block | Repeat], enter: nn.Module, leave: nn.Module) -> None:
        super().__init__()
        repeats = [b if isinstance(b, Repeat) else Repeat(b, 1) for b in blocks]
        self.enter, self.leave = enter, leave
        self.blocks = nn.ModuleList(r.block for r in repeats)
        self.order = [i for i, r in enumerate(repeats) for _ in range(r.times)]

    def __iter__(self):
        """Yields the blocks in the order of application, a repeated one as often as it is applied."""
        return (cast(Block, self.blocks[i]) for i in self.order)

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return tuple(block.init_state(batch, max_len, device=device, dtype=dtype) for block in self)

    def remember(self, source: Tensor, layout: Layout, encoder_state: State = None) -> State:
        """Returns what every block reads of the source (B, N, M), and of the states of the encoder's blocks."""
        enough = (*(encoder_state or ()), *(None for _ in self.order))  # the encoder may have fewer blocks, or more
        return tuple(block.remember(source, layout, k) for block, k in zip(self, enough, strict=False))

    @property
    def conditioned(self) -> bool:
        """Says whether a residual of the stack, or its end, takes a condition."""
        residuals = [one for block in self for one in block.residuals]
        return any(getattr(part, "conditioned", False) for part in (*residuals, self.leave))

    def forward(
        self, x: Tensor, layout: Layout, state: State = None, memory: State = None, condition: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """(B, T, M) -> (B, T, M), State. state None: the whole sequence at once, from the start.

        condition: (B, M), for the residuals that take it.
        """
        absent = (None,) * len(self.order)
        stream, after = self.enter(x), list[State]()
        for block, s, m in zip(self, state or absent, memory or absent, strict=True):
            stream, s = block(stream, layout, s, m) if condition is None else block(stream, layout, s, m, condition)
            after.append(s)
        end = self.leave(stream, condition) if getattr(self.leave, "conditioned", False) else self.leave(stream)
        return end, tuple(after)
