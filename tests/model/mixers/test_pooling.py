"""Means and maxima of all tokens so far, document by document."""

import pytest
import torch
from torch import Tensor

from transduce.model.init.init import NormalInit, Sizes
from transduce.model.layout import Layout, dense, packed
from transduce.model.mixers.pooling import Pooling, PoolingConfig
from transduce.model.positions.position import Positions

WIDTH = 8


def build(statistic: str) -> Pooling:
    mixer = PoolingConfig(statistic=statistic, size=5).build(WIDTH, Positions())  # type: ignore[arg-type]
    assert isinstance(mixer, Pooling)
    NormalInit(std=0.5).apply(mixer, Sizes(WIDTH, 0, 1), seed=0)
    return mixer.double()


def pooled(mixer: Pooling, x: Tensor) -> Tensor:
    """Of tokens (N, M), by definition."""
    v = mixer.value(x)
    return mixer.out(v.mean(0) if mixer.mean else v.amax(0))


@pytest.mark.parametrize("statistic", ["mean", "max"])
def test_every_token_gets_the_statistic_of_its_document_so_far(statistic: str) -> None:
    torch.manual_seed(0)
    mixer, x = build(statistic), torch.randn(1, 11, WIDTH, dtype=torch.float64)
    layout = packed([[6, 5]], 11)
    expected = torch.stack([pooled(mixer, x[0, begin : t + 1]) for t in range(11) for begin in [0 if t < 6 else 6]])
    torch.testing.assert_close(mixer(x, layout)[0][0], expected)
    around = torch.stack([pooled(mixer, x[0, :6])] * 6 + [pooled(mixer, x[0, 6:])] * 5)
    torch.testing.assert_close(mixer.encode(x, layout)[0], around)


@pytest.mark.parametrize("statistic", ["mean", "max"])
def test_a_decoder_reads_the_statistic_of_the_source(statistic: str) -> None:
    torch.manual_seed(0)
    mixer, x = build(statistic), torch.randn(2, 7, WIDTH, dtype=torch.float64)
    positions = torch.tensor([[0, 1, -1, 2, 3, -1, 4], [-1, -1, 0, 1, -1, -1, -1]])
    memory = mixer.write(x, Layout(positions, segments=torch.zeros_like(positions)))
    y = mixer.read(torch.randn(2, 3, WIDTH, dtype=torch.float64), dense(2, 3), memory)
    for row in range(2):
        expected = pooled(mixer, x[row, positions[row] >= 0])
        torch.testing.assert_close(y[row], expected.expand(3, -1))


@pytest.mark.parametrize("statistic", ["mean", "max"])
def test_an_empty_memory_reads_as_zero_values(statistic: str) -> None:
    mixer, x = build(statistic), torch.randn(1, 4, WIDTH, dtype=torch.float64)
    nothing = torch.full((1, 4), -1)
    memory = mixer.write(x, Layout(nothing, segments=torch.zeros_like(nothing)))
    torch.testing.assert_close(mixer.read(x, dense(1, 4), memory)[0, 0], mixer.out.bias)


def test_the_sum_is_kept_in_float32_under_autocast() -> None:
    mixer, x = build("mean").float(), torch.ones(1, 1000, WIDTH)
    state = mixer.init_state(1, 1000, device=x.device, dtype=torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        v = mixer.value(x[:, 0].bfloat16()).float()
        _, after = mixer(x.bfloat16(), dense(1, 1000), state)
    assert after is not None
    torch.testing.assert_close(after.value, 1000 * v, atol=0, rtol=1e-5)  # bfloat16 has three digits


def test_what_is_written_of_a_row_is_its_last_document() -> None:
    torch.manual_seed(0)
    mixer, x = build("mean"), torch.randn(1, 11, WIDTH, dtype=torch.float64)
    before = mixer.write(x[:, :4], dense(1, 4))
    for state in (None, before):
        memory = mixer.write(x, packed([[6, 5]], 11), state)
        torch.testing.assert_close(mixer.read(x[:, :1], dense(1, 1), memory)[0, 0], pooled(mixer, x[0, 6:]))
