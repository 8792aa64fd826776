"""Tools of laws: run a mixer in every role, compare outputs and gradients, and check what it says it cannot."""

from collections.abc import Callable

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model import layout as geometry
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer
from transduce.model.state import State

T = 13
Run = Callable[[Mixer, Tensor], Tensor]


def inputs(mixer: Mixer, width: int, rows: int = 2, tokens: int = T, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, tokens, width, generator=generator, dtype=next(mixer.parameters()).dtype)


def close(a: Tensor, b: Tensor, what: str) -> None:
    """Checks that outputs are equal but for rounding."""
    atol, rtol = (1e-10, 1e-10) if a.dtype == torch.float64 else (1e-5, 1e-6)
    torch.testing.assert_close(a, b, atol=atol, rtol=rtol, msg=lambda m: f"{what}: {m}")


def close_gradients(a: Tensor, b: Tensor, what: str) -> None:
    """Checks gradients, whose rounding in float32 is relative to the largest entries: sums have terms of their size."""
    if a.dtype == torch.float64:
        close(a, b, what)
    else:
        atol = 5e-6 * max(4.0, float(b.abs().max()))
        torch.testing.assert_close(a, b, atol=atol, rtol=1e-4, msg=lambda m: f"{what}: {m}")


def outcome(mixer: Mixer, x: Tensor, run: Run) -> list[tuple[str, Tensor]]:
    """Returns the outputs of a run, and the gradients of a fixed random projection of them."""
    mixer.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    y = run(mixer, x)
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    torch.autograd.backward(y, direction)
    named = [(n, p.grad if p.grad is not None else torch.zeros_like(p)) for n, p in mixer.named_parameters()]
    assert x.grad is not None
    return [("output", y.detach()), ("gradient of the input", x.grad), *((f"gradient of {n}", g) for n, g in named)]


def equal(mixer: Mixer, x: Tensor, one: Run, other: Run, law: str) -> None:
    (_, y), *ours = outcome(mixer, x, one)
    (_, z), *others = outcome(mixer, x, other)
    close(y, z, f"{law}, output")
    for (what, a), (_, b) in zip(ours, others, strict=True):
        close_gradients(a, b, f"{law}, {what}")


def fresh(mixer: Mixer, rows: int, max_len: int = T) -> State:
    parameter = next(mixer.parameters())
    return mixer.init_state(rows, max_len, device=parameter.device, dtype=parameter.dtype)


def feed(mixer: Mixer, x: Tensor, layout: Layout, sizes: list[int], state: State = None) -> tuple[Tensor, State]:
    """Returns the outputs of a sequence taken in chunks of the given sizes."""
    state = fresh(mixer, x.shape[0], x.shape[1]) if state is None else state
    parts, start = list[Tensor](), 0
    for size in sizes:
        y, state = mixer(x[:, start : start + size], layout.slice(start, start + size), state)
        parts.append(y)
        start += size
    assert start == x.shape[1]
    return torch.cat(parts, 1), state


def refused(mixer: Mixer, method: str, call: Callable[[], object]) -> bool:
    """Says whether the mixer declares that it lacks a method; checks that it then says so."""
    if method not in mixer.cannot:
        return False
    message = None
    try:
        call()
    except UserError as error:
        message = str(error)
    assert message is not None, f"{method} is declared impossible but ran"
    assert mixer.cannot[method] in message, f"{method} must raise its reason, not {message}"
    return True


def encodes_only(mixer: Mixer, width: int) -> bool:
    """Says whether the mixer declares that it is not causal; checks that it then says so."""
    return refused(mixer, "forward", lambda: mixer(inputs(mixer, width), geometry.dense(2, T)))


def whole(m: Mixer, x: Tensor) -> Tensor:
    """Runs causally, without padding."""
    return m(x, geometry.dense(x.shape[0], x.shape[1]))[0]


def around(m: Mixer, x: Tensor) -> Tensor:
    """Lets every token see all, without padding."""
    return m.encode(x, geometry.dense(x.shape[0], x.shape[1]))
