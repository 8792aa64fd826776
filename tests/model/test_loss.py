"""The chunked cross entropy against torch's own, values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from transduce.model.ops import loss as ops


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("chunk", [1, 50, 1 << 20])
def test_equals_cross_entropy(smoothing: float, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "CHUNK_ELEMENTS", chunk)
    torch.manual_seed(0)
    hidden = torch.randn(13, 8, dtype=torch.float64, requires_grad=True)
    weight = (5 * torch.randn(17, 8, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(0, 17, (13,))
    logits = hidden @ weight.T
    expected = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    wanted = torch.autograd.grad(3.0 * expected, (hidden, weight))
    total, nll = ops.cross_entropy(hidden, weight, targets, smoothing)
    got = torch.autograd.grad(3.0 * total, (hidden, weight))
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(nll, F.cross_entropy(logits, targets, reduction="sum"))
    torch.testing.assert_close(got, wanted)


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
