"""Attention written out and by the fused kernel: the same numbers, and which of them is taken."""

import pytest
import torch
from torch import Tensor

from transduce.model.ops import attention as ops


def drawn(rows: int, heads: int, tokens: int, keys: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(rows, n, heads, 8).to(dtype).requires_grad_() for n in (tokens, keys, keys)]


def both_ways(run: list[Tensor], monkeypatch: pytest.MonkeyPatch, **options: object) -> list[list[Tensor]]:
    results: list[list[Tensor]] = []
    for written_out in (True, False):
        monkeypatch.setattr(ops, "direct", lambda *_, w=written_out: w)
        y = ops.attend(*run, **options)  # type: ignore[arg-type]
        weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
        results.append([y, *torch.autograd.grad((y * weight).sum(), run)])
    return results


@pytest.mark.parametrize(("tokens", "keys", "causal"), [(5, 5, True), (33, 33, True), (5, 9, False), (40, 65, False)])
@pytest.mark.parametrize("masked", ["", "keys", "nothing"])
def test_both_ways_give_the_same_numbers_and_gradients(
    tokens: int, keys: int, causal: bool, masked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if causal and masked:
        pytest.skip("a causal call has no mask")
    mask = None
    if masked:
        mask = torch.ones(3, 1, tokens, keys, dtype=torch.bool)
        mask[1, ..., keys // 2 :] = False
        mask[2, :, -1] = masked != "nothing"
    options = {"mask": mask, "causal": causal}
    written, fused = both_ways(drawn(3, 2, tokens, keys, torch.float64), monkeypatch, **options)
    torch.testing.assert_close(written, fused, atol=1e-12, rtol=1e-10)
    written, fused = both_ways(drawn(3, 2, tokens, keys), monkeypatch, **options)
    torch.testing.assert_close(written, fused, atol=2e-6, rtol=1e-5)


LOW, FULL = torch.bfloat16, torch.float32
RULES = [  # dtype, gradient, dropout, queries, keys, the weights fit: written out
    (FULL, True, 0.0, 2, 2, True, False),
    (FULL, True, 0.0, 4096, 4096, True, False),
    (FULL, True, 0.1, 2, 2, True, True),
    (FULL, True, 0.1, 64, 64, False, False),
    (FULL, False, 0.0, 64, 64, True, False),
    (LOW, True, 0.0, 2, ops.SHORT, True, True),
    (LOW, True, 0.0, 2, ops.SHORT + 1, True, False),
    (LOW, True, 0.0, 2, ops.SHORT, False, False),
    (LOW, True, 0.1, 2, ops.SHORT + 1, True, True),
    (LOW, False, 0.0, 2, ops.SHORT_ALONE, True, True),
    (LOW, False, 0.0, 2, ops.SHORT_ALONE + 1, True, False),
    (LOW, False, 0.0, 1, 64, True, False),
    (LOW, False, 0.0, 65, 64, True, False),
]


@pytest.mark.parametrize(("dtype", "grad", "p", "queries", "keys", "fits", "written_out"), RULES)
def test_which_way_is_taken(
    dtype: torch.dtype, grad: bool, p: float, queries: int, keys: int, fits: bool, written_out: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    q, k = torch.empty(3, 2, queries, 8, dtype=dtype), torch.empty(3, 2, keys, 8, dtype=dtype)
    monkeypatch.setattr(ops, "SMALL", 3 * 2 * queries * keys - (not fits))
    with torch.set_grad_enabled(grad):
        assert ops.direct(q, k, p, None) == written_out
        assert ops.direct(q, k, p, torch.zeros(1, requires_grad=True)) == (written_out or grad)
