"""A causal mixer read in both orders, or in one, so that it can stand in an encoder."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.layout import Layout, documents
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.gru import GRUConfig
from transduce.model.mixers.lstm import LSTMConfig
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import Positions, Queries
from transduce.model.roles import Roles
from transduce.model.state import State, choose, select

REASON = "bidirectional reads the whole sequence; use it in an encoder"


class Both(NamedTuple):
    """The state of each direction; the backward one has read the first token last."""

    forward: State
    backward: State


class Bidirectional(Mixer):
    """`ahead` reads each sequence from its first token, `back` from its last."""

    no_plan = "its map joins both directions; the mixers inside have plans of their own"
    roles: ClassVar[Roles] = {"out.weight": "writes"}
    cannot: ClassVar[dict[str, str]] = {"forward": REASON, "write": REASON, "read": REASON}

    def __init__(self, config: "BidirectionalConfig", width: int, positions: Positions) -> None:
        super().__init__()
        self.ahead = None if config.directions == "backward" else config.mixer.build(width, positions)
        self.back = None if config.directions == "forward" else config.mixer.build(width, positions)
        for mixer in (self.ahead, self.back):
            if mixer is not None and "forward" in mixer.cannot:
                raise UserError(f"mixer={config.mixer.kind} has no direction: {mixer.cannot['forward']}")
        joined = config.directions == "both" and config.merge == "concat"
        self.out = nn.Linear(2 * width, width) if joined else None

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> State:
        return both(*(
            None if m is None else m.init_state(batch, max_len, device=device, dtype=dtype)
            for m in (self.ahead, self.back)
        ))  # fmt: skip

    def forward(self, x: Tensor, layout: Layout, state: State = None) -> tuple[Tensor, State]:
        raise UserError(REASON)

    def write(self, x: Tensor, layout: Layout, state: State = None) -> State:
        raise UserError(REASON)

    def read(self, x: Tensor, layout: Layout, state: State) -> Tensor:
        raise UserError(REASON)

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        return self.pass_over(x, layout, keep=False)[0]

    def encode_and_write(self, x: Tensor, layout: Layout) -> tuple[Tensor, State]:
        return self.pass_over(x, layout, keep=True)

    def pass_over(self, x: Tensor, layout: Layout, keep: bool) -> tuple[Tensor, State]:
        """Returns the output in both directions and, where kept, the last states, of a row's last document."""
        if layout.segments is not None:
            each = documents(layout)
            y, state = self.pass_over(each.split(x), each.layout, keep)
            if not keep:
                return each.join(y), None
            rows, none = each.slots[:, 0] // x.shape[1], torch.full_like(x[:, 0, 0], -1, dtype=torch.int64)
            last = none.scatter_reduce(0, rows, torch.arange(len(rows), device=x.device), "amax")
            empty = self.init_state(x.shape[0], x.shape[1], device=x.device, dtype=next(self.parameters()).dtype)
            return each.join(y), choose(last >= 0, select(state, last.clamp(min=0)), empty)
        parts, states = list[Tensor](), list[State]()
        for mixer, order in ((self.ahead, same), (self.back, reverse)):
            start: State = None
            if mixer is not None and keep:
                parameter = next(mixer.parameters())
                start = mixer.init_state(x.shape[0], x.shape[1], device=x.device, dtype=parameter.dtype)
            if mixer is not None:
                y, start = mixer(order(x, layout), layout, start)
                parts.append(order(y, layout))
            states.append(start)
        return self.merge(parts), both(*states) if keep else None

    def merge(self, parts: list[Tensor]) -> Tensor:
        if self.out is not None:
            return self.out(torch.cat(parts, -1))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def both(forward: State, backward: State) -> State:
    """Returns the state of both directions, or of the only one."""
    if forward is None or backward is None:
        return forward if backward is None else backward
    return Both(forward, backward)


def same(x: Tensor, layout: Layout) -> Tensor:
    return x


def reverse(x: Tensor, layout: Layout) -> Tensor:
    """Returns each row's tokens in reverse order, padding still on the right; its own inverse."""
    if layout.lengths is None:
        return x.flip(1)
    slots = torch.arange(x.shape[1], device=x.device)
    source = torch.where(layout.valid, layout.lengths[:, None] - 1 - slots, slots)
    return x[torch.arange(x.shape[0], device=x.device)[:, None], source]


@dataclass(frozen=True, kw_only=True)
class BidirectionalConfig(MixerConfig):
    """y_t = W [forward_t; backward_t], one from the first token on, one from the last.   Schuster & Paliwal 1997.

    mixer: what runs in either direction, with weights of its own in each.
    directions: only "forward" or "backward" (a source in reversed order: Sutskever et al. 2014) has no W.
    merge: "sum" adds the two instead.
    """

    kind: ClassVar[str] = "bidirectional"
    mixer: MixerConfig = field(default_factory=LSTMConfig)
    directions: Literal["both", "forward", "backward"] = "both"
    merge: Literal["concat", "sum"] = "concat"

    def __post_init__(self) -> None:
        if self.mixer.absent:
            raise UserError(f"mixer={self.mixer.kind} has no directions to read in; use lstm or gru")
        if self.merge == "sum" and self.directions != "both":
            raise UserError(f"merge=sum has no meaning with directions={self.directions} alone; leave it out")
        object.__setattr__(self, "positions", self.mixer.positions)  # what acts inside the mixer acts inside this one

    def queries(self, width: int) -> Queries | None:
        return self.mixer.queries(width)

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [
            cls(),
            cls(mixer=GRUConfig(size=9), merge="sum"),
            cls(mixer=LSTMConfig(peephole=True), directions="backward"),
            cls(mixer=GRUConfig(), directions="forward"),
            cls(mixer=AttentionConfig(heads=2)),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Bidirectional(self, width, positions)


def in_encoder(config: MixerConfig) -> MixerConfig:
    """Returns what stands for a mixer in an encoder: one that depends on order reads in both directions."""
    return BidirectionalConfig(mixer=config) if config.in_order else config
