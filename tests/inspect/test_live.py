"""Bytes that are alive: counted until they are freed, views and what was there before not at all."""

import torch

from transduce.inspect.live import Live, peak_bytes

MATRIX = 4 * 100 * 100


def test_the_peak_is_of_what_was_alive_at_once() -> None:
    known = torch.randn(100, 100)
    with Live([known]) as live:
        a = known + 1
        b = a * 2
        assert (live.now, live.peak) == (2 * MATRIX, 2 * MATRIX)
        del a
        assert live.now == MATRIX
        c = b[:10].T  # a view
        known.add_(1)
        assert (live.now, live.peak) == (MATRIX, 2 * MATRIX)
        del b
        assert live.now == MATRIX, "the view keeps it"
        del c
    assert (live.now, live.peak) == (0, 2 * MATRIX)


def test_a_backward_pass_is_followed() -> None:
    x, w = torch.randn(100, 100), torch.randn(100, 100, requires_grad=True)

    def work() -> None:
        (x @ w).relu().sum().backward()

    peak = peak_bytes(work, [x, w], torch.device("cpu"))
    assert 2 * MATRIX <= peak <= 2 * MATRIX + 100, "two of: the product, relu of it, its gradient, that of w"
    assert w.grad is not None
