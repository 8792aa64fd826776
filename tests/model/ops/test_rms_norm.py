"""The fast backward pass of RMSNorm: against PyTorch's, once and twice differentiated, at awkward sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from transduce.model.ops.rms_norm import rms_norm


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return (
        torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype).requires_grad_()
    )


@pytest.mark.parametrize("shape", [(7,), (1, 1), (3, 5, 13), (0, 4), (2, 0, 3, 9)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_value_and_gradient_are_those_of_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, weight, upstream = drawn(*shape, dtype=dtype), drawn(shape[-1], dtype=dtype), drawn(*shape, dtype=dtype)
    ours, theirs = rms_norm(x, weight, 1e-5), F.rms_norm(x, weight.shape, weight, 1e-5)
    assert torch.equal(ours, theirs)
    found, expected = (torch.autograd.grad(y, [x, weight], upstream.detach()) for y in (ours, theirs))
    torch.testing.assert_close(found, expected)


def test_it_can_be_differentiated_twice() -> None:
    inputs = drawn(3, 2, 5), drawn(5)

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(x, weight, 1e-3)

    assert gradcheck(norm, inputs)
    assert gradgradcheck(norm, inputs)


def test_a_row_of_zeros_has_a_finite_gradient() -> None:
    x, weight = torch.zeros(2, 4, requires_grad=True), torch.ones(4)
    (gradient,) = torch.autograd.grad(rms_norm(x, weight, 1e-6).sum(), [x])
    torch.testing.assert_close(gradient, torch.full((2, 4), 1e3))


def test_without_gradients_the_numbers_are_the_same() -> None:
    x, weight = drawn(3, 4), drawn(4)
    with torch.no_grad():
        plain = rms_norm(x, weight, 1e-6)
    assert not plain.requires_grad
    assert torch.equal(plain, rms_norm(x, weight, 1e-6))
