"""The chunked cross entropy against torch's own, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.model.ops import loss as ops


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("rows", [1, 3, 13])
@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_equals_cross_entropy(
    smoothing: float, rows: int, tall: bool, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks_of(rows, 17, tall, monkeypatch)
    hidden = torch.randn(13, 8, dtype=torch.float64, requires_grad=True)
    weight = (5 * torch.randn(17, 8, dtype=torch.float64)).requires_grad_()
    bias = torch.randn(17, dtype=torch.float64, requires_grad=True) if biased else None
    leaves = [hidden, weight] if bias is None else [hidden, weight, bias]
    targets = torch.randint(0, 17, (13,))
    logits = F.linear(hidden, weight, bias)
    expected = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    total, nll = ops.cross_entropy(hidden, weight, targets, smoothing, bias=bias)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(nll, F.cross_entropy(logits, targets, reduction="sum"))
    for factor in (3.0, 1.0, -0.5):  # a gradient can be asked for several times
        wanted = torch.autograd.grad(factor * expected, leaves, retain_graph=True)
        got = torch.autograd.grad(factor * total, leaves, retain_graph=True)
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tall", [False, True])
def test_chunks_and_their_order_in_memory_change_what_rounding_changes(
    dtype: torch.dtype, tall: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way against float64 of the same numbers: within a few roundings of the products."""
    hidden = torch.randn(40, 24).to(dtype).requires_grad_()
    weight = torch.randn(70, 24).to(dtype).requires_grad_()
    targets, weights = torch.randint(0, 70, (40,)), torch.rand(40)
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    losses = F.cross_entropy(exact[0] @ exact[1].T, targets, reduction="none", label_smoothing=0.1)
    expected = (weights.double() * losses).sum()
    wanted = torch.autograd.grad(expected, exact)
    tolerance = 8 * torch.finfo(dtype).eps
    for rows in (1, 7, 40):
        chunks_of(rows, 70, tall, monkeypatch)
        monkeypatch.setattr(ops, "STRETCH", 32)
        total, _ = ops.cross_entropy(hidden, weight, targets, 0.1, weights)
        assert total.dtype == torch.float32
        torch.testing.assert_close(total.double(), expected, rtol=tolerance, atol=0)
        for mine, other in zip(torch.autograd.grad(total, (hidden, weight)), wanted, strict=True):
            assert (mine.double() - other).norm() <= tolerance * other.norm()


def chunks_of(rows: int, vocab: int, tall: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(ops, "CHUNK_ROWS", 1)
    monkeypatch.setattr(ops, "CHUNK_ELEMENTS", rows * vocab)
    monkeypatch.setattr(ops, "FEW", 0)
    monkeypatch.setattr(ops, "TALL", 0 if tall else vocab + 1)
    assert ops.rows_at_once(vocab) == rows


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_few_tokens_at_once_are_the_same_as_in_chunks(
    weighted: bool, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 6, dtype=torch.float64, requires_grad=True)
    targets, weights = torch.randint(0, 11, (9,)), torch.rand(9).double() if weighted else None
    results: list[tuple[Tensor, ...]] = []
    for few in (11, 10):
        monkeypatch.setattr(ops, "FEW", few)
        total, nll = ops.cross_entropy(hidden, weight, targets, smoothing, weights)
        assert not nll.requires_grad
        assert ("CrossEntropy" in type(total.grad_fn).__name__) == (few == 10)
        results.append((total, nll, *torch.autograd.grad(total, (hidden, weight))))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("vocab", [1, 65, 8_000, 32_768, 50_257, 128_000, 1 << 24, 1 << 26])
def test_a_chunk_is_bounded_in_rows_and_in_bytes(vocab: int) -> None:
    rows = ops.rows_at_once(vocab)
    assert rows >= 1
    assert rows * vocab <= max(vocab, ops.MOST * ops.CHUNK_ELEMENTS)
    enough = (rows + 1) * vocab > ops.CHUNK_ELEMENTS and rows >= min(ops.CHUNK_ROWS, (1 << 24) // vocab)
    assert enough


def test_compiled_it_is_as_accurate_as_what_it_is_given() -> None:
    hidden, weight, targets = torch.randn(3, 8).double(), torch.randn(7, 8).double(), torch.tensor([0, 6, 2])
    torch.compiler.reset()
    compiled = torch.compile(ops.cross_entropy, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(hidden, weight, targets), ops.cross_entropy(hidden, weight, targets))
    torch.compiler.reset()


def test_huge_logits_stay_finite() -> None:
    hidden = torch.tensor([[1e4, -1e4]], requires_grad=True)
    total, _ = ops.cross_entropy(hidden, torch.eye(2), torch.tensor([1]), 0.0)
    total.backward()
    assert total.item() == pytest.approx(2e4)
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


def test_no_targets_is_a_loss_of_nothing() -> None:
    hidden = torch.zeros(0, 4, requires_grad=True)
    total, nll = ops.cross_entropy(hidden, torch.zeros(3, 4, requires_grad=True), torch.zeros(0, dtype=torch.int64))
    total.backward()
    assert total.item() == 0.0
    assert nll.item() == 0.0


def test_dropout_keeps_the_mean_and_meets_its_probability() -> None:
    from transduce.model.ops.dropout import dropout

    torch.manual_seed(0)
    x = torch.ones(401, 1003, requires_grad=True)
    y = dropout(x, 0.3, training=True)
    dropped = (y == 0).float().mean().item()
    assert abs(dropped - 0.3) < 0.003
    assert set(y.detach().unique().tolist()) == {0.0, torch.tensor(1 / 0.7).item()}
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())
    assert dropout(x, 0.3, training=False) is x
