"""The law of mixers that drop something in training: none of `LAWS`, which compare runs, so that nothing is random.

dropout(SomeConfig(dropout=0.5).build(width, positions), width)
"""

from copy import deepcopy

import torch
from torch import Tensor

from transduce.model import layout as geometry
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer
from transduce.testing.runs import Run, T, around, feed, inputs, whole


def dropout(mixer: Mixer, width: int) -> None:
    """Of a mixer built with `dropout=0.5`: in training the output of every token moves, each time otherwise, and its
    gradient is that of what was kept; in evaluation nothing is random. In every role, at every length."""
    mixer = deepcopy(mixer).double()
    for tokens in (T, 5):
        x = inputs(mixer, width, tokens=tokens)
        for role, run, valid in roles(mixer, tokens):
            what = f"dropout, {role} of {tokens} tokens"
            mixer.eval()
            with torch.no_grad():
                exact, again = run(mixer, x), run(mixer, x)
            assert torch.equal(exact, again), f"{what}: evaluation is random"
            mixer.train()
            y, z = run(mixer, x), run(mixer, x)
            with torch.no_grad():
                unlearnt = run(mixer, x)
            for output in (y, unlearnt):
                moved = ((output - exact).abs().amax(-1) > 1e-6) & valid  # more than by rounding
                assert torch.equal(moved, valid), f"{what}: some token loses nothing"
            assert not torch.equal(y, z), f"{what}: the same is dropped each time"
    x, (_, run, _) = inputs(mixer, width, rows=1, tokens=4).requires_grad_(), roles(mixer, 4)[0]

    def dropped(x: Tensor, *_: Tensor) -> Tensor:
        torch.manual_seed(0)
        return run(mixer, x)

    torch.autograd.gradcheck(dropped, (x, *mixer.parameters()), fast_mode=True)


def roles(mixer: Mixer, tokens: int) -> list[tuple[str, Run, Tensor]]:
    """Returns the ways in which a mixer is used on two rows, and which of their tokens are real."""
    grid, packed = geometry.dense(2, tokens), geometry.packed([[2, tokens - 3], [tokens - 1]], tokens)
    padded = geometry.right_padded(torch.tensor([tokens - 2, tokens]), tokens)
    out = list[tuple[str, Run, Tensor]]()
    if "encode" not in mixer.cannot:
        out.append(("encode", around, grid.valid))
        out += [("encode, padded", encoded(padded), padded.valid), ("encode, packed", encoded(packed), packed.valid)]
    if "forward" not in mixer.cannot:
        out.append(("forward", whole, grid.valid))
        out += [("forward, padded", causal(padded), padded.valid), ("forward, packed", causal(packed), packed.valid)]
        for sizes in ([3, tokens - 3], *([[1] * tokens] if tokens < T else [])):
            out.append((f"forward in chunks {sizes}", lambda m, x, s=sizes: feed(m, x, grid, s)[0], grid.valid))
    if not {"forward", "read"} & mixer.cannot.keys():
        out.append(("read", lambda m, x: m.read(x, grid, m.write(x, grid)), grid.valid))
    return out


def encoded(grid: Layout) -> Run:
    return lambda m, x: m.encode(x, grid)


def causal(grid: Layout) -> Run:
    return lambda m, x: m(x, grid)[0]
