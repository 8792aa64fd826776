"""Convolution along the tokens: the memory is the last few of them."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least
from transduce.model.feedforward.feedforward import ACTIVATIONS, Activation
from transduce.model.init.init import Initialiser, uniform
from transduce.model.layout import Layout, documents
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.ops.conv import around, before, depthwise
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles

REASON = "a convolution sees neighbours only; use another mixer between source and target"


class Recent(NamedTuple):
    """The last tokens of the document under way, zeros where it has none."""

    tokens: Tensor  # (B, (kernel - 1) * dilation, M)


class Convolution(Mixer):
    """out(value(u) * sigmoid(gate(u))), u = [x_t; x_{t-d}; ...] or the sum of these with weights per feature."""

    roles: ClassVar[Roles] = {"gate.weight": "adds", "out.weight": "writes"}
    tp_plan: ClassVar[dict[str, str]] = {"value": "columns", "gate": "columns", "out": "rows"}
    cannot: ClassVar[dict[str, str]] = {"read": REASON}

    def __init__(self, config: "ConvolutionConfig", width: int) -> None:
        super().__init__()
        self.kernel, self.dilation = config.kernel, config.dilation
        self.activation = ACTIVATIONS[config.activation]
        hidden, seen = config.hidden or width, width if config.depthwise else config.kernel * width
        self.taps = nn.Parameter(torch.empty(config.kernel, width)) if config.depthwise else None
        self.value = nn.Linear(seen, hidden, bias=config.bias)
        self.gate = nn.Linear(seen, hidden, bias=config.bias) if config.gated else None
        self.width, self.out = width, nn.Linear(hidden, width, bias=config.bias) if config.project else None
        if not config.gated:
            object.__setattr__(self, "tp_plan", {"value": "columns", "out": "rows"} if config.project else {})
            self.no_plan = "" if config.project else "with project=false no map adds up what the ranks have"

    def start(self) -> dict[str, Initialiser]:
        return {} if self.taps is None else {"taps": uniform(self.kernel**-0.5)}

    def init_state(self, batch: int, max_len: int, *, device: torch.device, dtype: torch.dtype) -> Recent:
        return Recent(torch.zeros(batch, (self.kernel - 1) * self.dilation, self.width, device=device, dtype=dtype))

    def forward(self, x: Tensor, layout: Layout, state: Recent | None = None) -> tuple[Tensor, Recent | None]:
        taps, past = before(x, layout, self.kernel, self.dilation, None if state is None else state.tokens)
        return self.combine(taps), None if past is None else Recent(past)

    def write(self, x: Tensor, layout: Layout, state: Recent | None = None) -> Recent:
        state = state or self.init_state(x.shape[0], x.shape[1], device=x.device, dtype=self.value.weight.dtype)
        past = before(x, layout, self.kernel, self.dilation, state.tokens)[1]
        assert past is not None
        return Recent(past)

    def read(self, x: Tensor, layout: Layout, state: Recent) -> Tensor:
        raise UserError(REASON)

    def encode(self, x: Tensor, layout: Layout) -> Tensor:
        if layout.segments is None:
            return self.combine(around(x, layout, self.kernel, self.dilation))
        each = documents(layout)
        return each.join(self.encode(each.split(x), each.layout))

    def combine(self, taps: list[Tensor]) -> Tensor:
        seen = torch.cat(taps, -1) if self.taps is None else depthwise(taps, self.taps)
        value = self.value(seen)
        y = self.activation(value) if self.gate is None else value * self.gate(seen).sigmoid()
        return y if self.out is None else self.out(y)


@dataclass(frozen=True, kw_only=True)
class ConvolutionConfig(MixerConfig):
    """y_t = W glu(V [x_t; x_{t-d}; ...; x_{t-(K-1)d}]).   Gehring et al. 2017, arXiv:1705.03122, sec. 3.2.

    A decoder sees the K - 1 taps before each token, an encoder half of them on either side.

    kernel: K, the taps.
    dilation: d, tokens between taps; layers with 1, 2, 4, ... are a temporal convolutional network, which sees 1 + (K -
        1) sum(dilations) tokens.
    hidden: features between V and W (None: the width).
    gated: glu(v; g) = v sigmoid(g); else the activation.
    activation: where it is not gated; relu in Bai et al. 2018, arXiv:1803.01271.
    project: without it there is no W (DeBERTa-v2).
    depthwise: V acts on the sum of the taps with weights per feature (Chollet 2017, arXiv:1610.02357).
    bias: whether the maps have one.
    """

    kind: ClassVar[str] = "convolution"
    kernel: int = 3
    dilation: int = 1
    hidden: int | None = None
    gated: bool = True
    activation: Activation = "relu"
    project: bool = True
    depthwise: bool = False
    bias: bool = True

    def __post_init__(self) -> None:
        if self.kernel < 2:
            raise UserError(f"kernel={self.kernel} sees no token but its own, which the feed-forward does; use 3")
        require_at_least(1, dilation=self.dilation, hidden=self.hidden)
        if self.hidden is not None and not self.project:
            raise UserError(f"hidden={self.hidden} needs a map back to the width; leave out hidden, or project=false")

    @classmethod
    def examples(cls) -> list[MixerConfig]:
        return [
            cls(),
            cls(kernel=2, dilation=3, gated=False, hidden=10),
            cls(kernel=3, dilation=2, depthwise=True, hidden=7, bias=False),
            cls(kernel=4, dilation=4, gated=False, depthwise=True),
            cls(gated=False, activation="tanh", project=False),
        ]

    def build(self, width: int, positions: Positions) -> Mixer:
        return Convolution(self, width)
