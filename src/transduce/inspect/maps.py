"""A map of any mixer: how much each token takes of each other one.

Three kinds, of which a map says which it is. "weights": those of attention, as it used them. "derivative": of a mixer
that is linear in its values, the exact d y_t / d v_s of each head, found with one-hot values. "gradient": of any other,
the norm of d y_t / d x_s, all features of both together.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from transduce.inspect.attention import Weighing
from transduce.model.layout import Layout
from transduce.model.mixers.block_sparse import BlockSparse
from transduce.model.mixers.differentiable_window import DifferentiableWindow
from transduce.model.mixers.disentangled import Disentangled
from transduce.model.mixers.fast_weights import FastWeightController
from transduce.model.mixers.linear import EPS, Linear
from transduce.model.mixers.matrix import MatrixMemory
from transduce.model.mixers.mixer import Mixer
from transduce.model.mixers.pooling import Pooling
from transduce.model.mixers.ssm import SSM
from transduce.model.ops.linear import sum_rule


class Call(NamedTuple):
    """A mixer that was called. role: "forward", "encode" or "read". x: (1, T, M). source: (1, N, M), for "read".

    layout, source_layout: of both.
    """

    mixer: Mixer
    role: str
    x: Tensor
    layout: Layout
    source: Tensor | None = None
    source_layout: Layout | None = None


def kind_of(mixer: Mixer) -> str:
    """Returns the kind of the maps of a mixer."""
    if isinstance(mixer, Weighing | Disentangled | BlockSparse):
        return "weights"
    linear = isinstance(mixer, SSM) or (isinstance(mixer, Pooling) and mixer.mean)
    squashed = isinstance(mixer, FastWeightController) and mixer.squash
    return "derivative" if linear or (isinstance(mixer, MatrixMemory) and not squashed) else "gradient"


def map_of(call: Call) -> tuple[str, Tensor]:
    """Returns the kind of the map of a call, and the map: (H, T, N)."""
    mixer, kind = call.mixer, kind_of(call.mixer)
    if kind == "gradient":
        return kind, gradient(call)
    with torch.no_grad():
        if isinstance(mixer, Weighing):
            return kind, weights(mixer, call)
        if isinstance(mixer, Disentangled | BlockSparse):
            return kind, by_one_hot(call, "v", mixer.head_dim)
        if isinstance(mixer, Pooling):
            return kind, by_one_hot(call, "value", mixer.value.out_features)
        if isinstance(mixer, SSM):
            return kind, of_space(mixer, call)
        return kind, of_matrix(cast(MatrixMemory, mixer), call)


def weights(mixer: Any, call: Call) -> Tensor:
    """Returns the weights of attention of any kind."""
    x, layout = call.x, call.layout
    if call.role == "read":
        written = mixer.write(call.source, call.source_layout)
        return mixer.weights(x, layout, mixer.recall.read(layout, written))[0]
    seen = mixer.recall.read(layout, mixer.write(x, layout))
    if call.role == "encode" and isinstance(mixer, DifferentiableWindow):
        return mixer.weigh(x, layout, seen, mixer.config.constrained)[0]
    if call.role == "forward":
        seen = seen._replace(mask=mixer.recall.rule.mask(layout, layout.positions, layout.segments))
    return mixer.weights(x, layout, seen)[0]


def by_one_hot(call: Call, values: str, size: int) -> Tensor:
    """Runs a mixer with one-hot values in the place of its own, as many tokens at a time as a head has features, and
    sees what comes before its last map."""
    given = call.x if call.source is None else call.source
    mixer: Any = call.mixer
    tokens, parts = given.shape[1], list[Tensor]()
    for start in range(0, tokens, size):

        def put(_: nn.Module, __: Any, v: Tensor, start: int = start) -> Tensor:
            shape = (*v.shape[:-1], v.shape[-1] // size, size)
            one = torch.zeros(shape, dtype=v.dtype, device=v.device)
            for s in range(start, min(start + size, tokens)):
                one[:, s, :, s - start] = 1
            return one.reshape(v.shape)

        before_last = list[Tensor]()

        def note(_: nn.Module, y: Any, out: list[Tensor] = before_last) -> None:
            out.append(y[0])

        hooks: list[Any] = [
            getattr(mixer, values).register_forward_hook(put),
            mixer.out.register_forward_pre_hook(note),
        ]
        try:
            run(call, call.x, call.source)
        finally:
            for hook in hooks:
                hook.remove()
        last = before_last[-1]
        y = cast(Tensor, last.expand(1, call.x.shape[1], -1).unflatten(-1, (-1, size)))[0].transpose(
            0, 1
        )  # (H, T, size)
        parts.append(y[..., : min(size, tokens - start)])
    return torch.cat(parts, -1)


def of_matrix(mixer: MatrixMemory, call: Call) -> Tensor:
    """Returns d y_t / d v_s of a matrix memory, y before the norm of each head and its gate."""
    x, layout = call.x, call.layout
    given, there = (
        (x, layout) if call.source is None or call.source_layout is None else (call.source, call.source_layout)
    )
    q = mixer.heads(mixer.q(x))
    q, _ = mixer.positions.turn(q, q, layout.positions)
    k = mixer.heads(mixer.k(given))
    _, k = mixer.positions.turn(k, k, there.positions)
    w = mixer.writes(given, k, there)
    one = torch.eye(given.shape[1], dtype=w.k.dtype, device=x.device).expand(*w.k.shape[:2], -1, -1)
    v = mixer.value(one)
    S = w.k.new_zeros(*w.k.shape[:2], w.k.shape[-1], v.shape[-1])
    features = mixer.features(q)
    y = mixer.rule(features, w._replace(v=v), S, None)[0] if call.role == "forward" else features @ mixer.add(
        w._replace(v=v), S, None
    )  # fmt: skip
    if isinstance(mixer, Linear) and mixer.normalise:
        y = y[..., :-1] / (y[..., -1:] + EPS)
    return y[0]


def of_space(mixer: SSM, call: Call) -> Tensor:
    """Returns d y_t / d x_s of a state-space model, x behind its convolution, y before its norm and its gate."""
    t, _ = mixer.inputs(call.x, call.layout, None)
    tokens = call.x.shape[1]
    one = torch.eye(tokens, dtype=t.dt.dtype, device=call.x.device).expand(*t.dt.shape[:2], -1, -1)
    if call.role == "read" and call.source is not None and call.source_layout is not None:
        there, _ = mixer.inputs(call.source, call.source_layout, None)
        one = torch.eye(call.source.shape[1], dtype=t.dt.dtype, device=call.x.device).expand(
            *there.dt.shape[:2], -1, -1
        )
        empty = there.B.new_zeros(*there.dt.shape[:2], there.B.shape[-1], one.shape[-1])
        _, last = sum_rule(there.C, there.B, there.dt[..., None] * one, empty, mixer.decay(there), None)
        return (t.C @ last)[0]
    empty = t.B.new_zeros(*t.dt.shape[:2], t.B.shape[-1], tokens)
    y, _ = sum_rule(t.C, t.B, t.dt[..., None] * one, empty, mixer.decay(t), None)
    return (y + mixer.D.to(y.dtype)[:, None, None] * one)[0]


def gradient(call: Call) -> Tensor:
    """Returns (1, T, N): the Frobenius norm of d y_t / d x_s."""
    given = (call.x if call.source is None else call.source).detach()
    with torch.enable_grad():
        width = call.x.shape[-1]
        many = given.expand(width, -1, -1).clone().requires_grad_()  # row i is asked for feature i of the output
        y = run(call, many, None) if call.source is None else run(call, call.x.expand(width, -1, -1), many)
        own = y.diagonal(dim1=0, dim2=2)  # (T, M)
        lines = list[Tensor]()
        for t in range(own.shape[0]):
            (slope,) = torch.autograd.grad(own[t].sum(), many, retain_graph=True, materialize_grads=True)
            lines.append(slope.square().sum((0, 2)).sqrt())
    return torch.stack(lines)[None].detach()


def run(call: Call, x: Tensor, source: Tensor | None) -> Tensor:
    """Returns the output of a mixer in a role for other inputs (R, T, M)."""
    mixer, layout = call.mixer, wide(call.layout, x.shape[0])
    act: dict[str, Callable[[], Tensor]] = {
        "forward": lambda: mixer(x, layout)[0],
        "encode": lambda: mixer.encode(x, layout),
    }
    if call.role in act:
        return act[call.role]()
    assert source is not None
    assert call.source_layout is not None
    return mixer.read(x, layout, mixer.write(source, wide(call.source_layout, x.shape[0])))


def wide(layout: Layout, rows: int) -> Layout:
    """Returns a layout of one row, several times."""
    return layout if rows == 1 else Layout(layout.positions.expand(rows, -1))
