"""Soft windows: the identities of the mask, and the mixer against its formula with the matrix U written out."""

from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.layout import dense, left_padded, packed
from transduce.model.mixers.differentiable_window import DifferentiableWindowConfig
from transduce.model.ops.window import segment_ends, soft_window
from transduce.model.positions.position import Positions

B, H, N, M = 2, 2, 11, 8


def one_hot(*places: int) -> Tensor:
    """(1, 1, T, N): a certain boundary for each query."""
    return torch.eye(N, dtype=torch.float64)[list(places)][None, None]


def ends(length: int) -> tuple[Tensor, Tensor]:
    return segment_ends(torch.arange(N)[None], length)


def U(length: int) -> Tensor:
    """Upper triangular ones, row i that of the first place of its segment."""
    rows = torch.arange(N) // length * length
    return torch.ones(N, N, dtype=torch.float64).triu()[rows]


def test_certain_boundaries_give_ones_between_them_in_either_order() -> None:
    expected = torch.tensor([0.0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0], dtype=torch.float64)
    for m in soft_window(one_hot(3, 6), one_hot(6, 3))[0, 0]:
        assert torch.equal(m, expected)
    forwards, backwards = soft_window(one_hot(3, 6), one_hot(6, 3), constrained=True)[0, 0]
    assert torch.equal(forwards, expected)
    assert not backwards.any()


def test_certain_boundaries_give_whole_segments() -> None:
    inside, across = soft_window(one_hot(3, 7), one_hot(4, 2), ends(3))[0, 0]
    assert inside.tolist() == [0, 0, 0, 2, 2, 2, 0, 0, 0, 0, 0], "both in one segment: twice"
    assert across.tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]


def test_equal_certain_boundaries_give_two() -> None:
    assert soft_window(one_hot(4), one_hot(4))[0, 0, 0].tolist() == [0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]


def test_uniform_boundaries_peak_in_the_middle() -> None:
    flat = torch.full((1, 1, 1, 9), 1 / 9, dtype=torch.float64)
    m = soft_window(flat, flat)[0, 0, 0]
    k = torch.arange(1, 10, dtype=torch.float64)
    torch.testing.assert_close(m, 2 * k * (10 - k) / 81)
    assert m.argmax() == 4


@pytest.mark.parametrize("length", [1, 2, 5, 20])
def test_sums_are_products_with_U_and_gradients_too(length: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, B, H, 4, N, dtype=torch.float64, requires_grad=True)
    left, right = logits.softmax(-1)
    matrix = U(length)
    expected = (left @ matrix) * (right @ matrix.T) + (left @ matrix.T) * (right @ matrix)
    found = soft_window(left, right, tuple(e.expand(B, N) for e in ends(length)))
    torch.testing.assert_close(found, expected)
    if length == 1:
        torch.testing.assert_close(soft_window(left, right), expected)
    (mine,), (theirs,) = (torch.autograd.grad(m.sin().sum(), logits, retain_graph=True) for m in (found, expected))
    torch.testing.assert_close(mine, theirs)
    for start in range(0, N, length):
        torch.testing.assert_close(found[..., start : start + length].amin(-1), found[..., start])


def test_segments_follow_positions_not_slots() -> None:
    first, last = segment_ends(left_padded(torch.tensor([5]), 8).positions, 2)
    assert (first[0, 3:].tolist(), last[0, 3:].tolist()) == ([3, 3, 5, 5, 7], [4, 4, 6, 6, 7])
    first, last = segment_ends(packed([[3, 1, 3]], 7).positions, 2)
    assert (first[0].tolist(), last[0].tolist()) == ([0, 0, 2, 3, 4, 4, 6], [1, 1, 2, 3, 5, 5, 6])
    first, last = segment_ends(torch.tensor([[0, 1, 2, -1, -1, 3, 4]]), 2)  # an old cache, then a chunk
    assert first[0, [0, 1, 2, 5, 6]].tolist() == [0, 0, 2, 2, 6]
    assert last[0, [0, 1, 5, 6]].tolist() == [1, 1, 5, 6]


def built(**options: Any) -> Any:
    torch.manual_seed(0)
    return DifferentiableWindowConfig(heads=H, **options).build(M, Positions()).double()


def by_hand(m: Any, x: Tensor, *, causal: bool, constrained: bool = False) -> Tensor:
    """The paper's equations on (B, N, M), with masks of infinity and the matrix U."""

    def heads(name: str) -> Tensor:
        return getattr(m, name)(x).view(B, N, H, M // H).transpose(1, 2)

    def scores(pair: str) -> Tensor:
        return heads(f"q{pair}") @ heads(f"k{pair}").mT / (M // H) ** 0.5

    def hidden(keep: Tensor) -> Tensor:
        return torch.zeros(N, N, dtype=torch.float64).masked_fill(~keep, -torch.inf)

    everywhere = torch.ones(N, N, dtype=torch.bool)
    seen = everywhere.tril() if causal else everywhere
    left = (scores("_l") + hidden(seen.tril() if constrained else seen)).softmax(-1)
    right = (scores("_r") + hidden(seen.triu() if constrained else seen)).softmax(-1)
    matrix = U(m.config.segment or 1)
    window = (left @ matrix) * (right @ matrix.T)
    if not constrained:
        window = window + (left @ matrix.T) * (right @ matrix)
    if m.config.clamp:
        window = window.minimum(torch.ones(()))
    if m.config.use == "additive":
        a = (scores("") + scores("_local") * window + hidden(seen)).softmax(-1)
    else:
        a = (scores("") + hidden(seen)).softmax(-1) * window
        a = a / a.sum(-1, keepdim=True) if m.config.renormalise else a
    return m.out((a @ heads("v")).transpose(1, 2).flatten(2))


OPTIONS: list[dict[str, Any]] = [
    {"use": "additive"},
    {"use": "additive", "segment": 3, "clamp": True},
    {"use": "multiplicative", "bias": False},
    {"use": "multiplicative", "segment": 5, "renormalise": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("role", ["forward", "encode", "constrained"])
def test_is_the_formula_with_gradients(options: dict[str, Any], role: str) -> None:
    m = built(constrained=role == "constrained", **options)
    x = torch.randn(B, N, M, dtype=torch.float64, requires_grad=True)
    found = m(x, dense(B, N))[0] if role == "forward" else m.encode(x, dense(B, N))
    expected = by_hand(m, x, causal=role == "forward", constrained=role == "constrained")
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-10)
    wanted = [x, *m.parameters()]
    mine, theirs = (torch.autograd.grad(y.square().sum(), wanted) for y in (found, expected))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


def test_multiplicative_weights_shrink_unless_renormalised() -> None:
    x, grid = torch.randn(B, N, M, dtype=torch.float64), dense(B, N)
    sums = {}
    for renormalise in (False, True):
        m = built(use="multiplicative", renormalise=renormalise)
        sums[renormalise] = m.weights(x, grid, m.recall.read(grid, m.write(x, grid))).sum(-1)
    assert (sums[False] < 0.9).all()
    torch.testing.assert_close(sums[True], torch.ones_like(sums[True]))


def test_as_many_projections_as_published() -> None:
    linear = [name for name, _ in built(use="multiplicative", bias=False).named_parameters()]
    assert len(linear) == 7 + 1
    assert len(list(built(use="additive", bias=False).named_parameters())) == 9 + 1


def test_runs_in_bfloat16() -> None:
    m = built(segment=3).float()
    x = torch.randn(B, N, M)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = m(x.bfloat16(), dense(B, N), m.init_state(B, N, device=x.device, dtype=torch.float32))
    torch.testing.assert_close(y.float(), m(x, dense(B, N))[0], atol=3e-2, rtol=3e-2)


def test_nothing_to_renormalise_is_an_error() -> None:
    with pytest.raises(UserError, match="use=additive add up to 1"):
        DifferentiableWindowConfig(renormalise=True)
