"""The last token as a summary of all: the fixed context vector of the first encoder-decoders."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles


class Last(NamedTuple):
    """The last token written; zeros if there is none."""

    token: Tensor  # (B, M), float32 or float64


class Context(Mixer):
    """Every token of a target reads W x_N; a token that reads itself, W x_t."""

    no_plan = "it is one vector, behind one map"
    roles: ClassVar[Roles] = {"out.weight": "writes"}

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.out = nn.Linear(width, width, bias=bias)

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> Last:
        dtype = torch.promote_types(dtype, torch.float32)
        return Last(torch.zeros(batch, self.out.in_features, device=device, dtype=dtype))

    def forward(self, x: Tensor, layout: Layout, state: Last | None = None) -> tuple[Tensor, Last | None]:
        return self.out(x), None if state is None else self.write(x, layout, state)

    def write(self, x: Tensor, layout: Layout, state: Last | None = None) -> Last:
        old = self.init_state(x.shape[0], 0, device=x.device, dtype=x.dtype) if state is None else state
        slots = torch.arange(x.shape[1], device=x.device)
        last = torch.where(layout.valid, slots, -1).amax(1)  # (B,)
        token = x[torch.arange(x.shape[0], device=x.device), last.clamp(min=0)].to(old.token.dtype)
        return Last(torch.where((last >= 0)[:, None], token, old.token))

    def read(self, x: Tensor, layout: Layout, state: Last) -> Tensor:
        return self.out(state.token.to(x.dtype))[:, None].expand(-1, x.shape[1], -1)


@dataclass(frozen=True, kw_only=True)
class ContextConfig(MixerConfig):
    """y_t = W x_N, the last token, for every t.   Cho et al. 2014, arXiv:1406.1078, sec. 2.2: the context vector.

    Behind a recurrent encoder, x_N is a summary of the source. Causal, it moves nothing: a token reads itself.

    bias: whether a b is added.
    """

    kind: ClassVar[str] = "context"
    bias: bool = True

    def build(self, width: int, positions: Positions) -> Mixer:
        return Context(width, self.bias)
