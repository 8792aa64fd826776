"""The laws of mixers. Each law is a function of a mixer and raises AssertionError where it is broken.

    from transduce.testing.laws import LAWS
    for law in LAWS: law(mixer, width)

Every comparison covers the outputs and the gradients of the input and of all parameters. A mixer lists the methods that
it does not have in `cannot`, each with a message; then the law checks that the method raises this message.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from transduce.model import layout as geometry
from transduce.model.layout import Layout
from transduce.model.mixers.mixer import Mixer
from transduce.model.state import nbytes, select, snapshot, tensors
from transduce.testing.adapted import adapted
from transduce.testing.exchanged import exchanged
from transduce.testing.runs import (
    Run,
    T,
    around,
    close,
    encodes_only,
    equal,
    feed,
    fresh,
    inputs,
    refused,
    whole,
)
from transduce.testing.sharding import sharding


def chunking(mixer: Mixer, width: int) -> None:
    """13 tokens at once, one by one, 5 + 8 and 7 + 1 + 1 + 4 give the same outputs, and the same outputs after them.

    A call without a state returns no state.
    """
    if encodes_only(mixer, width):
        return
    x, grid = inputs(mixer, width), geometry.dense(2, T)
    for whole_grid in (grid, geometry.right_padded(torch.tensor([9, T]), T), geometry.packed([[5, 8], [T]], T)):
        assert mixer(x, whole_grid)[1] is None, "chunking: a state came back where none was given"
    for sizes in ([T], [1] * T, [5, 8], [7, 1, 1, 4]):
        equal(mixer, x, lambda m, x: m(x, grid)[0], lambda m, x, s=sizes: feed(m, x, grid, s)[0], f"chunking {sizes}")
    after = geometry.dense(2, 3, start=T)
    more = inputs(mixer, width, tokens=3, seed=2)
    with torch.no_grad():
        states = [feed(mixer, x, grid, sizes, fresh(mixer, 2, T + 3))[1] for sizes in ([T], [1] * T, [5, 8])]
        first, *others = [mixer(more, after, state)[0] for state in states]
    for y in others:
        close(y, first, "chunking, tokens after the chunks")


def causality(mixer: Mixer, width: int) -> None:
    """Changing later tokens changes no bit of an earlier output, and no gradient flows back from it."""
    if encodes_only(mixer, width):
        return
    x, grid = inputs(mixer, width), geometry.dense(2, T)
    other = torch.cat([x[:, :7], inputs(mixer, width, seed=3)[:, 7:]], 1)
    assert torch.equal(mixer(x, grid)[0][:, :7], mixer(other, grid)[0][:, :7]), "causality: later tokens seep back"
    x.requires_grad_()
    mixer(x, grid)[0][:, :7].square().sum().backward()
    assert x.grad is not None
    assert not x.grad[:, 7:].any(), "causality: gradient from the past to the future"


def reach(mixer: Mixer, width: int) -> None:
    """A mixer that obeys the reach of a layout lets the tokens of a prefix see one another, and no token behind it.

    A token behind the prefix sees the same as without a prefix. For a mixer that does not obey it, blocks refuse such a
    layout.
    """
    if not mixer.by_reach or encodes_only(mixer, width):
        return
    x, grid = inputs(mixer, width), geometry.dense(2, T)
    prefix = geometry.prefixed(grid, torch.full((2, T), 5))
    y = mixer(x, prefix)[0]
    last, next_ = (
        mixer(torch.cat([x[:, :t], inputs(mixer, width, tokens=1, seed=3), x[:, t + 1 :]], 1), prefix)[0]
        for t in (4, 5)
    )
    assert (last != y)[:, :5].any(-1).all(), "reach: some token of the prefix does not see its last one"
    assert torch.equal(next_[:, :5], y[:, :5]), "reach: a prefix sees what comes behind it"
    close(y[:, 5:], mixer(x, grid)[0][:, 5:], "reach, tokens behind the prefix")


def write_then_read(mixer: Mixer, width: int) -> None:
    """Writing tokens 0..t and then reading with token t gives the same as `forward` does at t."""
    x, grid = inputs(mixer, width), geometry.dense(2, T)
    if encodes_only(mixer, width) or refused(mixer, "read", lambda: mixer.read(x, grid, mixer.write(x, grid))):
        return

    def from_start(m: Mixer, x: Tensor) -> Tensor:
        return torch.cat(
            [m.read(x[:, [t]], grid.slice(t, t + 1), m.write(x[:, : t + 1], grid.slice(0, t + 1))) for t in range(T)], 1
        )

    def in_steps(m: Mixer, x: Tensor) -> Tensor:
        state, parts = fresh(m, 2), list[Tensor]()
        for t in range(T):
            state = m.write(x[:, [t]], grid.slice(t, t + 1), state)
            parts.append(m.read(x[:, [t]], grid.slice(t, t + 1), state))
        return torch.cat(parts, 1)

    equal(mixer, x, lambda m, x: m(x, grid)[0], from_start, "write then read")
    equal(mixer, x, lambda m, x: m(x, grid)[0], in_steps, "write into a state, then read")
    if "encode" not in mixer.cannot:
        with torch.no_grad():
            y, state = mixer.encode_and_write(x, grid)
            close(y, mixer.encode(x, grid), "encode and write, what is encoded")
            close(mixer.read(x, grid, state), mixer.read(x, grid, mixer.write(x, grid)), "encode and write, then read")


def padding(mixer: Mixer, width: int) -> None:
    """Padding on either side changes nothing, whatever it holds: forward, encode, in chunks."""
    real = torch.tensor([9, T])
    padded_as_alone(mixer, width, geometry.right_padded(real, T), "padding on the right")
    padded_as_alone(mixer, width, geometry.left_padded(real, T), "padding on the left")


def padded_as_alone(mixer: Mixer, width: int, grid: Layout, law: str) -> None:
    x = torch.where(grid.valid[..., None], inputs(mixer, width), 10 * inputs(mixer, width, seed=4))

    def alone(m: Mixer, x: Tensor, run: Run) -> Tensor:
        return torch.cat([run(m, x[[b]][:, grid.valid[b]])[0] for b in range(2)])

    def forward(m: Mixer, x: Tensor) -> Tensor:
        return alone(m, x, whole)

    if not encodes_only(mixer, width):
        equal(mixer, x, lambda m, x: m(x, grid)[0][grid.valid], forward, law)
        for sizes in ([T], [1] * T, [5, 8]):
            equal(mixer, x, lambda m, x, s=sizes: feed(m, x, grid, s)[0][grid.valid], forward, f"{law}, chunks {sizes}")
    if not refused(mixer, "encode", lambda: mixer.encode(x, grid)):
        equal(mixer, x, lambda m, x: m.encode(x, grid)[grid.valid], lambda m, x: alone(m, x, around), f"{law}, encode")


def packing(mixer: Mixer, width: int) -> None:
    """Documents packed in a row give the same as each alone: forward, encode, in chunks that cut and join documents."""
    sizes = [[5, 1, 6], [8, 4]]
    x, grid = inputs(mixer, width), geometry.packed(sizes, T)

    def alone(m: Mixer, x: Tensor, run: Run) -> Tensor:
        parts = list[Tensor]()
        for row, lengths in enumerate(sizes):
            start = 0
            for n in lengths:
                parts.append(run(m, x[[row], start : start + n])[0])
                start += n
        return torch.cat(parts)

    if not encodes_only(mixer, width):
        equal(mixer, x, lambda m, x: m(x, grid)[0][grid.valid], lambda m, x: alone(m, x, whole), "packing")
    for cut in ([T], [1] * T, [3, 4, 6], [7, 1, 5]) if not encodes_only(mixer, width) else ():
        equal(
            mixer, x, lambda m, x, c=cut: feed(m, x, grid, c)[0][grid.valid],
            lambda m, x: alone(m, x, whole), f"packing in chunks {cut}",
        )  # fmt: skip
    if not refused(mixer, "encode", lambda: mixer.encode(x, grid)):
        equal(mixer, x, lambda m, x: m.encode(x, grid)[grid.valid], lambda m, x: alone(m, x, around), "encode, packing")


def rows(mixer: Mixer, width: int) -> None:
    """`select` commutes with `forward`: choosing rows of the memory equals choosing rows of the inputs."""
    if encodes_only(mixer, width):
        return
    x, grid, chosen = inputs(mixer, width, rows=3), geometry.dense(3, T), torch.tensor([2, 0, 0, 1])
    with torch.no_grad():
        _, state = feed(mixer, x[:, :6], grid.slice(0, 6), [6], fresh(mixer, 3))
        rest = x[:, 6:].index_select(0, chosen)
        y, _ = mixer(rest, geometry.dense(4, T - 6, start=6), select(snapshot(state), chosen))
        z, _ = mixer(x.index_select(0, chosen), geometry.dense(4, T))
    close(y, z[:, 6:], "rows")
    assert all(t.shape[0] == 3 for t in tensors(state)), "rows: the first dimension of a state is the batch"
    size = sum(t.contiguous().flatten().view(torch.uint8).numel() for t in tensors(state))
    assert nbytes(state) == size, f"rows: nbytes says {nbytes(state)} bytes of a state of {size}"
    assert 3 * nbytes(select(state, chosen[:1])) == size, "rows: every row takes as much memory as any other"


def replay(mixer: Mixer, width: int) -> None:
    """From a snapshot, a draft whose rejected tail is marked as padding leaves the memory of the accepted tokens."""
    if encodes_only(mixer, width):
        return
    x, grid = inputs(mixer, width), geometry.dense(2, T)
    accepted = torch.tensor([1, 3])
    with torch.no_grad():
        _, state = feed(mixer, x[:, :6], grid.slice(0, 6), [6], fresh(mixer, 2))
        saved = snapshot(state)
        mixer(inputs(mixer, width, tokens=4, seed=5), geometry.dense(2, 4, start=6), state)
        slots = torch.arange(4).expand(2, 4)
        draft = torch.where(slots < accepted[:, None], slots + 6, -1)
        _, state = mixer(x[:, 6:10], Layout(draft, segments=torch.zeros_like(draft)), saved)
        following = 6 + accepted
        token = x[torch.arange(2), following][:, None]
        y, _ = mixer(token, Layout(following[:, None]), state)
        z, _ = mixer(x, grid)
    close(y[:, 0], z[torch.arange(2), following], "replay")


def compilation(mixer: Mixer, width: int) -> None:
    """`torch.compile(fullgraph=True)` gives the same numbers, and traces nothing anew after the third decoding step."""
    x, grid = inputs(mixer, width), geometry.dense(2, T)
    torch.compiler.reset()
    if encodes_only(mixer, width):
        return
    graphs = list[int]()

    def counting(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., object]:
        graphs.append(1)
        return graph.forward

    compiled = torch.compile(mixer, fullgraph=True, backend=counting)  # pyright: ignore[reportUnknownMemberType]
    with torch.no_grad():
        close(compiled(x, grid)[0], mixer(x, grid)[0], "compilation")
        state, parts, before = fresh(mixer, 2), list[Tensor](), 0
        for t in range(T):
            y, state = compiled(x[:, [t]], Layout(torch.full((2, 1), t)), state)
            parts.append(y)
            if t == 2:
                before = len(graphs)
        assert len(graphs) == before, f"compilation: traced {len(graphs) - before} times after the third step"
        close(torch.cat(parts, 1), mixer(x, grid)[0], "compilation, step by step")
    torch.compiler.reset()


def batch(mixer: Mixer, width: int) -> None:
    """A row gives the same numbers alone and in a batch, gradients included."""
    x = inputs(mixer, width, rows=5)
    run = around if encodes_only(mixer, width) else whole

    def one_by_one(m: Mixer, x: Tensor) -> Tensor:
        return torch.cat([run(m, x[[b]]) for b in range(5)])

    equal(mixer, x, run, one_by_one, "batch")


def derivatives(mixer: Mixer, width: int) -> None:
    """Gradients are those of finite differences in float64.

    Those of the input are compared one by one, those of input and parameters together in a random direction.
    """
    exact = deepcopy(mixer).double()
    x = inputs(exact, width, rows=1, tokens=4).requires_grad_()
    runs = [run for run, method in ((whole, "forward"), (around, "encode")) if method not in mixer.cannot]
    for run in runs:

        def y(x: Tensor, *_: Tensor, run: Run = run) -> Tensor:  # parameters are moved in place
            return run(exact, x)

        torch.autograd.gradcheck(y, x)
        torch.autograd.gradcheck(y, (x, *exact.parameters()), fast_mode=True)


def lower_precision(mixer: Mixer, width: int) -> None:
    """Under autocast to bfloat16, the numbers are the same up to rounding, and memories stay in their precision."""
    if next(mixer.parameters()).dtype == torch.float64:
        return
    x, grid = inputs(mixer, width), geometry.dense(2, T)
    low = x.bfloat16().requires_grad_()
    run = around if encodes_only(mixer, width) else whole
    with torch.autocast("cpu", torch.bfloat16):
        y = run(mixer, low)
    y.float().square().sum().backward()
    assert low.grad is not None
    assert low.grad.isfinite().all(), "lower precision: gradients are finite"
    exact = run(mixer, x).detach()
    error, scale = (y.float() - exact).abs().max(), exact.abs().max()
    assert error <= 0.1 * scale + 0.02, f"lower precision: the error is {error:.3f} where outputs go up to {scale:.3f}"
    if encodes_only(mixer, width):
        return
    before = fresh(mixer, 2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        after = mixer(x.bfloat16(), grid, before)[1]
    old, new = ([t.dtype for t in tensors(state)] for state in (fresh(mixer, 2), after))
    assert old == new, f"lower precision: the memory was {old} and became {new}"


LAWS: tuple[Callable[[Mixer, int], None], ...] = (
    chunking, causality, reach, write_then_read, padding, packing, rows, replay, sharding, compilation, batch,
    derivatives, lower_precision, adapted, exchanged,
)  # fmt: skip
