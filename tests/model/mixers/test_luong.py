"""Luong's three scores against their formulas, pair by pair."""

from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.model.layout import Layout, dense, left_padded, packed, right_padded
from transduce.model.mixers.luong import LuongConfig
from transduce.model.positions.position import Positions

B, T, N, M = 2, 4, 6, 10
SOURCES = {
    "dense": dense(B, N),
    "right": right_padded(torch.tensor([6, 3]), N),
    "left": left_padded(torch.tensor([6, 3]), N),
}


def built(**options: Any) -> Any:
    torch.manual_seed(0)
    return LuongConfig(**options).build(M, Positions()).double()


def score(m: Any, kind: str, h_t: Tensor, h_s: Tensor) -> Tensor:
    if kind == "dot":
        return h_t @ h_s
    if kind == "general":
        return h_t @ m.k.weight @ h_s
    W = torch.cat([m.q.weight, m.k.weight], 1)  # v^T tanh(W [h_t; h_s])
    return m.score.weight[0] @ (W @ torch.cat([h_t, h_s])).tanh()


@pytest.mark.parametrize("kind", ["dot", "general", "concat"])
@pytest.mark.parametrize("grid", SOURCES.values(), ids=SOURCES.keys())
@pytest.mark.parametrize("attentional", [True, False])
def test_is_the_formula_with_gradients(kind: str, grid: Layout, attentional: bool) -> None:
    m = built(score=kind, attentional=attentional, bias=attentional)
    source, asking = (torch.randn(B, n, M, dtype=torch.float64, requires_grad=True) for n in (N, T))
    rows = []
    for b in range(B):
        real = grid.valid[b].nonzero()[:, 0].tolist()
        for t in range(T):
            e = torch.stack([score(m, kind, asking[b, t], source[b, s]) for s in real])
            c = e.softmax(0) @ source[b, real]
            wanted = torch.cat([c, asking[b, t]]) if attentional else c
            bias = 0 if m.out.bias is None else m.out.bias
            y = m.out.weight @ wanted + bias
            rows.append(y.tanh() if attentional else y)
    expected = torch.stack(rows).view(B, T, M)
    found = m.read(asking, dense(B, T), m.write(source, grid))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-10)
    parameters = [source, asking, *m.parameters()]
    mine, theirs = (torch.autograd.grad(y.square().sum(), parameters) for y in (found, expected))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


def test_documents_of_a_packed_row_are_read_apart() -> None:
    m = built()
    source, asking = torch.randn(1, 7, M, dtype=torch.float64), torch.randn(1, 5, M, dtype=torch.float64)
    there, here = packed([[3, 4]], 7), packed([[1, 3]], 5)
    y = m.read(asking, here, m.write(source, there))
    first = m.read(asking[:, :1], dense(1, 1), m.write(source[:, :3], dense(1, 3)))
    second = m.read(asking[:, 1:4], dense(1, 3), m.write(source[:, 3:], dense(1, 4)))
    torch.testing.assert_close(y[:, :4], torch.cat([first, second], 1))


def test_dot_has_no_parameters_but_the_last() -> None:
    assert [name for name, _ in built(score="dot").named_parameters()] == ["out.weight"]


@pytest.mark.parametrize("kind", ["dot", "general", "concat"])
def test_runs_in_bfloat16(kind: str) -> None:
    m = built(score=kind).float()
    x = 0.5 * torch.randn(B, N, M)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = m(x.bfloat16(), dense(B, N), m.init_state(B, N, device=x.device, dtype=torch.float32))
    torch.testing.assert_close(y.float(), m(x, dense(B, N))[0], atol=3e-2, rtol=3e-2)
