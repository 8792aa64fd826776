"""Convolution: against torch, the receptive field of stacks, and what an encoder sees."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig, LayerConfig
from transduce.model.init.init import NormalInit, Sizes
from transduce.model.layout import dense, packed
from transduce.model.mixers.convolution import Convolution, ConvolutionConfig
from transduce.model.positions.position import NoPositionsConfig, Positions
from transduce.model.residual.norm_first import PreNormConfig
from transduce.model.stack import Stack

WIDTH = 8


def build(**options: int | bool) -> Convolution:
    mixer = ConvolutionConfig(**options).build(WIDTH, Positions())
    assert isinstance(mixer, Convolution)
    NormalInit(std=0.3).apply(mixer, Sizes(WIDTH, 0, 1), seed=0)
    return mixer.double()


def support(y: Tensor, x: Tensor) -> list[int]:
    """The tokens (first row) on which a vector depends: where its derivative is not exactly zero."""
    direction = torch.arange(1.0, len(y) + 1, dtype=y.dtype).sin()  # the plain sum of a norm's features is constant
    (grad,) = torch.autograd.grad(y @ direction, x, retain_graph=True)
    return grad[0].abs().sum(-1).nonzero().flatten().tolist()


def test_it_is_conv1d_then_glu() -> None:
    torch.manual_seed(0)
    mixer = build(kernel=3, dilation=2, hidden=5)
    x = torch.randn(2, 11, WIDTH, dtype=torch.float64)
    assert mixer.gate is not None
    weight = torch.cat([mixer.value.weight, mixer.gate.weight]).view(10, 3, WIDTH).flip(1).mT
    bias = torch.cat([mixer.value.bias, mixer.gate.bias])
    torch_conv = F.conv1d(F.pad(x.mT, (4, 0)), weight, bias, dilation=2)
    torch.testing.assert_close(mixer(x, dense(2, 11))[0], mixer.out(F.glu(torch_conv, dim=1).mT))


def test_depthwise_is_a_separable_convolution() -> None:
    torch.manual_seed(0)
    mixer = build(kernel=4, depthwise=True, gated=False, hidden=6)
    x = torch.randn(2, 11, WIDTH, dtype=torch.float64)
    assert mixer.taps is not None
    each = F.conv1d(F.pad(x.mT, (3, 0)), mixer.taps.flip(0).mT[:, None], groups=WIDTH)
    point = F.conv1d(each, mixer.value.weight[..., None], mixer.value.bias)
    torch.testing.assert_close(mixer(x, dense(2, 11))[0], mixer.out(F.relu(point).mT))


@pytest.mark.parametrize(("kernel", "dilations"), [(2, (1, 2, 4)), (3, (1, 2)), (3, (1, 2, 4)), (5, (1, 3))])
@pytest.mark.parametrize("gated", [True, False])
def test_a_stack_sees_one_plus_the_sum_of_all_spans(kernel: int, dilations: tuple[int, ...], gated: bool) -> None:
    field = 1 + (kernel - 1) * sum(dilations)
    mixers = [ConvolutionConfig(kernel=kernel, dilation=d, gated=gated, hidden=64) for d in dilations]
    layers = tuple(LayerConfig(mixer=mixer) for mixer in mixers)  # 64: among few features, relu may stop all
    config = DecoderConfig(
        width=WIDTH, layers=layers, positions=NoPositionsConfig(), residual=PreNormConfig(dropout=0.0)
    )
    stack = config.build(vocab_size=5).double().stacks()[0]
    assert isinstance(stack, Stack)
    x = torch.randn(1, field + 3, WIDTH, dtype=torch.float64, requires_grad=True)
    y, _ = stack(x, dense(1, field + 3))
    assert support(y[0, -1], x) == list(range(3, field + 3))  # all of the field: not one token less, not one more


@pytest.mark.parametrize(("kernel", "dilation", "seen"), [
    (3, 1, [5, 6, 7]), (3, 3, [3, 6, 9]), (5, 1, [4, 5, 6, 7, 8]), (4, 1, [4, 5, 6, 7]), (2, 2, [4, 6]),
])  # fmt: skip
def test_an_encoder_sees_both_sides(kernel: int, dilation: int, seen: list[int]) -> None:
    mixer = build(kernel=kernel, dilation=dilation)
    x = torch.randn(1, 13, WIDTH, dtype=torch.float64, requires_grad=True)
    assert support(mixer.encode(x, dense(1, 13))[0, 6], x) == seen


def test_no_document_sees_another() -> None:
    mixer = build(kernel=3, dilation=2)
    x = torch.randn(1, 9, WIDTH, dtype=torch.float64, requires_grad=True)
    layout = packed([[5, 4]], 9)
    assert support(mixer(x, layout)[0][0, 6], x) == [6]
    assert support(mixer(x, layout)[0][0, 7], x) == [5, 7]
    assert support(mixer.encode(x, layout)[0, 3], x) == [1, 3]


def test_it_refuses_what_has_no_meaning() -> None:
    with pytest.raises(UserError, match="kernel=1"):
        ConvolutionConfig(kernel=1)
    with pytest.raises(UserError, match="dilation=0"):
        ConvolutionConfig(dilation=0)
    with pytest.raises(UserError, match="sees neighbours only"):
        EncoderDecoderConfig(width=WIDTH, layers=1, mixer=ConvolutionConfig()).build(vocab_size=5)
