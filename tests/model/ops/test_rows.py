"""The same bits for a row whoever stands beside it; everywhere else, the plain formulas."""

import pytest
import torch
import torch.nn.functional as F

from transduce.model.ops.rows import ROWS, by_number, linear, more, product, rows_alike

COUNTS = (1, 2, 3, 4, 7, 33)


@pytest.fixture(autouse=True)
def _wanted():
    with torch.no_grad(), rows_alike(True):
        yield


@pytest.mark.parametrize(("inside", "out"), [(64, 64), (384, 384), (64, 1000)])
def test_a_row_times_a_matrix(inside, out):
    x, weight, bias = torch.randn(33, inside), torch.randn(out, inside) * inside**-0.5, torch.randn(out)
    torch.testing.assert_close(linear(x[:2, None], weight, bias), F.linear(x[:2, None], weight, bias))
    for n in COUNTS:
        assert torch.equal(linear(x[:n], weight, bias)[0], linear(x[:1], weight, bias)[0])


@pytest.mark.parametrize("queries", [1, 3, 5, 15])
def test_a_query_of_a_memory(queries):
    a, b = torch.randn(5, 1, queries, 64) / 8, torch.randn(5, 1, 64, 48)
    torch.testing.assert_close(product(a, b), a @ b)
    assert torch.equal(product(a, b)[:1], product(a[:1], b[:1]))
    assert torch.equal(product(a, b)[:, :, :1], product(a[:, :, :1], b))


@pytest.mark.parametrize("f", [torch.sigmoid, F.softplus, F.silu])
def test_a_function_of_each_number(f):
    x = torch.randn(33, 3)
    for n in COUNTS:
        assert torch.equal(by_number(f, x)[0], by_number(f, x[:n])[0])
    torch.testing.assert_close(by_number(f, x), f(x))


def test_only_where_it_is_wanted():
    x, weight = torch.randn(1, 64), torch.randn(64, 64)
    assert more(x).shape == (ROWS, 64)
    with rows_alike(False):
        assert torch.equal(linear(x, weight), F.linear(x, weight))
    with torch.enable_grad():
        assert torch.equal(linear(x, weight), F.linear(x, weight))
