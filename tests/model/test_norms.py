"""Norms against their formulas and torch.nn, their invariances, and what BatchNorm does that the others do not."""

import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.norms.batch import BatchNormConfig
from transduce.model.norms.length import ScaleNormConfig
from transduce.model.norms.norm import LayerNorm, NormConfig, RMSNorm

WIDTH = 13


class Holder(nn.Module):
    """A norm under the name that start values look for."""

    def __init__(self, config: NormConfig) -> None:
        super().__init__()
        self.norm = config.build(WIDTH)
        XavierInit().apply(self, Sizes(WIDTH, 0, 1), seed=0)


def made(config: NormConfig, moved: float = 0.0) -> nn.Module:
    module = Holder(config).double().norm
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in module.parameters():
            p += moved * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return module


def sample(*shape: int) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def centred(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)


def test_layer_norm_is_invariant_to_shift_and_scale() -> None:
    norm, x = made(LayerNorm(eps=1e-300)), sample(2, 3)
    torch.testing.assert_close(norm(3.0 * x + 5.0), norm(x), atol=1e-12, rtol=0)


def test_layer_norm_is_rms_norm_of_what_is_centred() -> None:
    x = sample(2, 3)
    torch.testing.assert_close(made(LayerNorm(eps=1e-6))(x), made(RMSNorm(eps=1e-6))(centred(x)), atol=1e-14, rtol=0)


def test_layer_norm_without_gain_has_nothing_to_learn() -> None:
    norm, x = made(LayerNorm(gain=False)), sample(2, 3)
    assert not list(norm.parameters())
    torch.testing.assert_close(norm(x), made(LayerNorm())(x))
    DecoderConfig(width=8, layers=1, norm=LayerNorm(gain=False)).build(5)


def test_rms_norm_is_invariant_to_scale_but_not_to_shift() -> None:
    norm, x = made(RMSNorm(eps=1e-300)), sample(2, 3)
    torch.testing.assert_close(norm(7.0 * x), norm(x), atol=1e-12, rtol=0)
    assert (norm(x + 1.0) - norm(x)).abs().max() > 0.1


@pytest.mark.parametrize("part", [0.25, 0.5, 1.0])
def test_rms_norm_of_a_part_is_its_formula(part: float) -> None:
    norm, x = made(RMSNorm(part=part, eps=1e-3), moved=0.3), sample(2, 3)
    first = {0.25: 4, 0.5: 7, 1.0: 13}[part]
    expected = x / (x[..., :first].square().sum(-1, keepdim=True) / first + 1e-3).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected, atol=1e-13, rtol=0)


def test_scale_norm_starts_with_root_mean_square_one_and_has_one_gain() -> None:
    norm, x = made(ScaleNormConfig()), sample(2, 3)
    torch.testing.assert_close(norm(x).square().mean(-1), torch.ones(2, 3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert sum(p.numel() for p in norm.parameters()) == 1
    other = made(ScaleNormConfig(), moved=0.5)
    torch.testing.assert_close(other(x), other.gain * x / x.norm(dim=-1, keepdim=True), atol=1e-13, rtol=0)
    zero = torch.zeros(1, WIDTH, dtype=torch.float64, requires_grad=True)
    norm(zero).sum().backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


def test_batch_norm_is_that_of_torch() -> None:
    ours, theirs = made(BatchNormConfig(), moved=0.3), nn.BatchNorm1d(WIDTH).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
        theirs.bias.copy_(ours.bias)
    for seed in range(3):
        x = sample(4, 5) * (seed + 1) + seed
        torch.testing.assert_close(ours(x).flatten(0, 1), theirs(x.flatten(0, 1)))
    torch.testing.assert_close(ours.mean, theirs.running_mean)
    torch.testing.assert_close(ours.var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x).flatten(0, 1), theirs.eval()(x.flatten(0, 1)))


@pytest.mark.parametrize("kind", sorted(kinds(NormConfig.folder)))
def test_only_batch_norm_in_training_depends_on_the_rest_of_the_batch(kind: str) -> None:
    norm, x = made(from_data(DecoderConfig, {"norm": kind}).norm), sample(4, 3)
    norm.train()
    alone = (norm(x[:1]) - norm(x)[:1]).abs().max()
    assert alone > 0.1 if kind == "batch-norm" else alone < 1e-12
    norm.eval()
    torch.testing.assert_close(norm(x[:1]), norm(x)[:1], atol=1e-12, rtol=0)


VARIANTS = [
    *(from_data(DecoderConfig, {"norm": kind}).norm for kind in sorted(kinds(NormConfig.folder))),
    LayerNorm(bias=False), LayerNorm(gain=False), RMSNorm(offset=1.0), RMSNorm(offset=0.5), RMSNorm(part=0.5),
]  # fmt: skip


@pytest.mark.parametrize("config", [c for c in VARIANTS if c.kind != "none"], ids=str)
def test_every_norm_starts_with_a_mean_square_of_one(config: NormConfig) -> None:
    """Whatever is trained, an offset or a gain: for pRMSNorm of the features it looks at, for BatchNorm of a batch."""
    y = made(config).train()(sample(500, 3) * 0.7)
    if isinstance(config, RMSNorm):
        y = y[..., : math.ceil(WIDTH * config.part)]
    square = y.square()
    per_token = square.mean((0, 1)) if config.kind == "batch-norm" else square.mean(-1)
    torch.testing.assert_close(per_token, torch.ones_like(per_token), atol=1e-3, rtol=0)


@pytest.mark.parametrize("config", [c for c in VARIANTS if hasattr(c, "eps")], ids=str)
@pytest.mark.parametrize("size", [1e-9, 1e-4, 1e-2, 1.0])
def test_eps_stands_where_the_paper_has_it(config: Any, size: float) -> None:
    """At any size of the vectors: inside the root, beside the mean square; or the least length (ScaleNorm)."""
    config = replace(config, eps=1e-4)
    norm, x = cast(Any, made(config, moved=0.3)).train(), size * sample(200, 3)
    gain = {"scale-norm": lambda: norm.gain, "rms-norm": lambda: config.offset + norm.weight}
    g = 1.0 if getattr(norm, "weight", 1.0) is None else gain.get(config.kind, lambda: norm.weight)()
    if config.kind == "scale-norm":
        expected = g * x / x.norm(dim=-1, keepdim=True).clamp(min=1e-4)
    elif config.kind == "rms-norm":
        first = math.ceil(WIDTH * config.part)
        expected = g * x / (x[..., :first].square().mean(-1, keepdim=True) + 1e-4).sqrt()
    else:
        over = (0, 1) if config.kind == "batch-norm" else -1
        middle = x - x.mean(over, keepdim=True)
        bias = 0.0 if getattr(norm, "bias", None) is None else norm.bias
        expected = g * middle / (middle.square().mean(over, keepdim=True) + 1e-4).sqrt() + bias
    torch.testing.assert_close(norm(x), expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("kind", sorted(kinds(NormConfig.folder)))
def test_gradients(kind: str) -> None:
    norm = made(from_data(DecoderConfig, {"norm": kind}).norm, moved=0.3)
    names, values = [n for n, _ in norm.named_parameters()], [p.detach() for p in norm.parameters()]

    def f(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(norm, dict(zip(names, parameters, strict=True)), (x,))

    inputs = (sample(2, 3).requires_grad_(), *(v.clone().requires_grad_() for v in values))
    assert torch.autograd.gradcheck(f, inputs)


@pytest.mark.parametrize("config", [RMSNorm(part=0.5), ScaleNormConfig(), BatchNormConfig()], ids=lambda c: c.kind)
def test_statistics_are_taken_in_float32_from_bfloat16(config: NormConfig) -> None:
    norm, x = Holder(config).norm, (sample(4, 5) * 3).bfloat16()
    y = norm(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, norm(x.float()).bfloat16(), atol=0, rtol=0)


@pytest.mark.parametrize("part", [0, 1.5])
def test_a_part_that_is_none_is_refused(part: float) -> None:
    with pytest.raises(UserError, match="is not a share of the features"):
        from_data(RMSNorm, {"part": part})
