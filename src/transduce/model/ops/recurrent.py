"""Recurrent cells, one step at a time, the loop that runs them, and the fused kernels of the common ones.

In every step a: (B, n S) is what the input adds to the n gates, W x_t + b, u: (B, n S) what the last hidden units add,
U h_{t-1}; S units. Gates stand in the order of torch.nn.

Tested in tests/model/mixers/test_recurrent.py.
"""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from transduce.model.layout import Layout
from transduce.model.state import choose, over


class Hidden(NamedTuple):
    h: Tensor  # (B, S) float32 or float64


class Cell(NamedTuple):
    h: Tensor  # (B, S) float32 or float64
    c: Tensor  # (B, S) float32 or float64


Linear = Callable[[Tensor], Tensor]
S = TypeVar("S", Hidden, Cell)
warnings.filterwarnings("ignore", "RNN module weights are not part")  # of one piece: ours belong to two Linears
SHUT = 1e4  # before a sigmoid: 0 and 1 in every precision


def lstm_step(a: Tensor, u: Tensor, c: Tensor, p: Tensor | None = None) -> Cell:
    """c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c').   Hochreiter & Schmidhuber 1997; Gers et al. 2000.

    n = 4: i, f, g, o. p: (3, S) peepholes: i and f see c, o sees c' (Gers, Schraudolph & Schmidhuber 2002).
    """
    i, f, g, o = (a + u).chunk(4, -1)
    if p is not None:
        i, f = i + p[0] * c, f + p[1] * c
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return Cell((o if p is None else o + p[2] * c).sigmoid() * c.tanh(), c)


def carousel_step(a: Tensor, u: Tensor, c: Tensor, p: Tensor | None = None) -> Cell:
    """c' = c + s(i) tanh(g), h' = s(o) tanh(c'): nothing is forgotten.   Hochreiter & Schmidhuber 1997.

    n = 3: i, g, o. p: (2, S) peepholes of i and o.
    """
    i, g, o = (a + u).chunk(3, -1)
    c = c + (i if p is None else i + p[0] * c).sigmoid() * g.tanh()
    return Cell((o if p is None else o + p[1] * c).sigmoid() * c.tanh(), c)


def gru_step(a: Tensor, u: Tensor, h: Tensor) -> Hidden:
    """h' = z h + (1 - z) n, n = tanh(a_n + r u_n): the reset gate acts on U h, as in torch.nn.   n = 3: r, z, n."""
    (a, an), (u, un) = ((x[..., : 2 * h.shape[-1]], x[..., 2 * h.shape[-1] :]) for x in (a, u))
    r, z = (a + u).sigmoid().chunk(2, -1)
    return Hidden(torch.lerp(torch.tanh(an + r * un), h, z))


def gru_before_step(a: Tensor, h: Tensor, U: Linear, Un: Linear) -> Hidden:
    """h' = z h + (1 - z) n, n = tanh(a_n + U_n (r h)): the reset gate acts on h.   Cho et al. 2014, eqs. 5 to 8.

    n = 3: r, z, n; U: of r and z together.
    """
    ar, az, an = a.chunk(3, -1)
    r, z = (torch.cat([ar, az], -1) + U(h)).sigmoid().chunk(2, -1)
    return Hidden(torch.lerp(torch.tanh(an + Un(r * h)), h, z))


def factored_step(a: Tensor, f: Tensor, h: Tensor, U: Linear, V: Linear) -> Hidden:
    """h' = tanh(a + V (f * U h)): the input chooses the matrix, V diag(f) U.   Sutskever, Martens & Hinton 2011, eq. 7.

    f: (B, F) the factors, a map of the input. A sigma-pi (second-order) network whose weights are of rank F.
    """
    return Hidden(torch.tanh(a + V(f * U(h))))


def scan(step: Callable[[Tensor, S], S], a: Tensor, layout: Layout, state: S) -> tuple[Tensor, S]:
    """Returns h of every slot (B, T, S), and the last state. Documents start empty, padding changes nothing."""
    parts: list[Tensor] = []  # list[Tensor]() cannot be traced
    for t, at in enumerate(a.to(state.h.dtype).unbind(1)):
        if t == 0 or layout.segments is not None:  # elsewhere a row is one sequence
            state = begin(layout, t, state)
        after = step(at, state)
        state = choose(layout.valid[:, t], after, state) if layout.padded else after
        parts.append(state.h)
    return torch.stack(parts, 1), state


def begin(layout: Layout, t: int, state: S) -> S:
    """Returns the state, empty in the rows where a sequence starts in slot t."""
    return over(state, lambda x: x.masked_fill(layout.starts[:, t, None], 0.0))


Kernel = Callable[..., Any]  # of torch._VF: lstm, gru, rnn_tanh, rnn_relu


def fused(
    kernel: Kernel, x: Tensor, state: S, input: nn.Linear, hidden: nn.Linear, padding: Tensor | None = None
) -> tuple[Tensor, S]:
    """Runs `scan` as one call of the kernel behind torch.nn.LSTM, GRU and RNN. Padding (B, T) keeps c, not h.

    Left to autocast, an LSTM would hold c in bfloat16, where small additions are lost. On a CPU its kernel takes c in
    float32 beside products in bfloat16; elsewhere the whole runs in float32.
    """
    w, u, biases, first = input.weight, hidden.weight, list[Tensor](), [s[None] for s in state]
    if input.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        second = cast("Tensor | None", hidden.bias)
        biases = [input.bias, torch.zeros_like(input.bias) if second is None else second]
    if padding is not None:  # one more feature shuts the input gate and opens the forget gate
        gates = torch.tensor([-SHUT, SHUT, 0.0, 0.0], device=x.device, dtype=w.dtype)
        w = torch.cat([w, gates.repeat_interleave(u.shape[1])[:, None]], 1)
        x = torch.cat([x, padding[..., None].to(x.dtype)], -1)
    device, cell = x.device.type, isinstance(state, Cell)
    auto = torch.is_autocast_enabled(device)
    lowers = auto and device == "cpu" and not cell  # left to autocast, which keeps h as it is and lowers products
    if not lowers:
        dtype = torch.bfloat16 if auto and cell and takes_bfloat16(device) else w.dtype
        x, w, u, first[0] = (tensor.to(dtype) for tensor in (x, w, u, first[0]))
        biases = [bias.to(dtype) for bias in biases]
    with torch.autocast(device, enabled=False) if auto and not lowers else nullcontext():
        y, *last = kernel(
            x, first if cell else first[0], [w, u, *biases],
            bool(biases), 1, 0.0, torch.is_grad_enabled(), False, True,
        )  # fmt: skip
    return y, type(state)(*(new[0].to(old.dtype) for new, old in zip(last, state, strict=True)))


def takes_bfloat16(device: str) -> bool:
    """Says whether autocast lowers products to bfloat16, and the LSTM kernel takes them beside c in float32."""
    if device != "cpu" or torch.get_autocast_dtype(device) != torch.bfloat16:
        return False
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
