import pytest
import torch
from torch import Tensor

from transduce.inspect.counts import flops
from transduce.model.ops.attention import attend
from transduce.model.ops.local_attention import attend_near


def inputs(tokens: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Four heads of queries, two of keys."""
    g = torch.Generator().manual_seed(0)
    shapes = (3, tokens, 4, 6), (3, tokens, 2, 6), (3, tokens, 2, 5)
    q, k, v = (torch.randn(shape, generator=g, dtype=torch.float64).to(dtype) for shape in shapes)
    return q, k, v


def mask(tokens: int, window: int, causal: bool, lengths: Tensor) -> Tensor:
    at = torch.arange(tokens)
    behind = at[:, None] - at
    seen = (behind >= 0) & (behind < window) if causal else behind.abs() < window
    return (seen & (at < lengths[:, None, None]))[:, None]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(("tokens", "window"), [(77, 5), (64, 16), (65, 16), (50, 33), (9, 1), (16, 40), (1, 3)])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_blocks_are_the_mask_written_out(
    causal: bool, padded: bool, tokens: int, window: int, softcap: float | None
) -> None:
    lengths = torch.tensor([tokens, max(1, tokens // 2), max(1, tokens - 3)]) if padded else torch.full((3,), tokens)
    real = (torch.arange(tokens) < lengths[:, None])[..., None]

    def results(near: bool) -> list[Tensor]:
        q, k, v = (x.requires_grad_() for x in inputs(tokens))
        options = {"scale": 0.3, "softcap": softcap}
        if near:
            y = attend_near(q, k, v, window, causal=causal, lengths=lengths if padded else None, **options)
        else:
            y = attend(q, k, v, mask(tokens, window, causal, lengths), **options)
        y = y * real
        return [y, *torch.autograd.grad(y.square().sum(), (q, k, v))]

    for ours, theirs in zip(results(True), results(False), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def test_work_grows_with_the_length() -> None:
    def work(tokens: int) -> int:
        return flops(lambda: attend_near(*inputs(tokens, torch.float32), 32, causal=True))

    assert work(1024) == 4 * work(256) == 3 * 1024 * 4 * (2 * 32) * 2 * (6 + 5)
