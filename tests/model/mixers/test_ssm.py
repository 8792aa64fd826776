"""Mamba-2 against the recurrence of the paper, token by token, and against `transformers`."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.init.init import NormalInit, Sizes
from transduce.model.layout import dense, right_padded
from transduce.model.mixers.bidirectional import BidirectionalConfig, in_encoder
from transduce.model.mixers.ssm import SSM, SSMConfig
from transduce.model.positions.position import Positions


def model(width: int, dtype: torch.dtype = torch.float64, **options: int) -> SSM:
    mixer = SSMConfig(**options).build(width, Positions())
    assert isinstance(mixer, SSM)
    NormalInit(std=0.3).apply(mixer, Sizes(width, 0, 1), seed=0)
    with torch.no_grad():
        mixer.norm.weight += 0.1 * torch.randn(mixer.norm.weight.shape)
        mixer.D += 0.3 * torch.randn(mixer.D.shape)
        mixer.dt_bias += 3  # steps large enough for the decay to matter
    return mixer.to(dtype)


def recurrence(m: SSM, x: Tensor) -> Tensor:
    """One row (T, M) by the equations of the paper: sec. 2.1 with a scalar A for each head, and sec. 7.1."""
    inner, N, P = m.out.in_features, m.terms[1], m.size
    z, seen, dt = m.project(x).split([inner, inner + 2 * N, inner // P], -1)
    if m.taps is not None:
        convolved = []
        for t in range(len(x)):
            u = m.taps_bias.clone()
            for j in range(min(m.kernel, t + 1)):
                u = u + m.taps[j] * seen[t - j]
            convolved.append(u)
        seen = torch.stack(convolved)
    value, B, C = F.silu(seen).split([inner, N, N], -1)
    h, rows = [torch.zeros(P, N, dtype=x.dtype) for _ in range(inner // P)], []
    for t in range(len(x)):
        y = []
        for i in range(inner // P):
            step = F.softplus(dt[t, i] + m.dt_bias[i])
            token = value[t, i * P : (i + 1) * P]
            h[i] = torch.exp(-torch.exp(m.A_log[i]) * step) * h[i] + torch.outer(step * token, B[t])
            y.append(h[i] @ C[t] + m.D[i] * token)
        gated = torch.cat(y) * F.silu(z[t])
        rows.append(m.out(gated * (gated.square().mean() + 1e-5).rsqrt() * m.norm.weight))
    return torch.stack(rows)


@pytest.mark.parametrize("options", [{"state": 5, "size": 6}, {"state": 3, "size": 4, "conv": 0, "expand": 1}])
def test_it_is_the_recurrence_of_the_paper(options: dict[str, int]) -> None:
    torch.manual_seed(0)
    mixer = model(12, **options)
    x = torch.randn(2, 150, 12, dtype=torch.float64)  # more than two chunks of the parallel form
    direction = torch.randn_like(x)
    found = []
    for y in (mixer(x, dense(2, 150))[0], torch.stack([recurrence(mixer, row) for row in x])):
        mixer.zero_grad()
        (y * direction).sum().backward()
        found.append([y.detach(), *(p.grad.clone() for p in mixer.parameters() if p.grad is not None)])
    assert len(found[0]) == 1 + len(list(mixer.parameters()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-8)


def test_it_is_mamba2_of_transformers() -> None:
    modeling = pytest.importorskip("transformers.models.mamba2.modeling_mamba2")
    config = modeling.Mamba2Config(
        hidden_size=24, num_heads=6, head_dim=8, state_size=5, n_groups=1, num_hidden_layers=1, chunk_size=7
    )
    torch.manual_seed(0)
    theirs = modeling.Mamba2Mixer(config, layer_idx=0)
    mixer = model(24, torch.float32, state=5, size=8)
    copied = {
        "in_proj.weight": mixer.project.weight,
        "conv1d.weight": mixer.taps.flip(0).mT[:, None],
        "conv1d.bias": mixer.taps_bias,
        "out_proj.weight": mixer.out.weight,
        **{name: getattr(mixer, name) for name in ("A_log", "D", "dt_bias")},
        "norm.weight": mixer.norm.weight,
    }
    theirs.load_state_dict({name: tensor.detach() for name, tensor in copied.items()}, strict=True)
    x, lengths = torch.randn(2, 37, 24), torch.tensor([37, 20])
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    layout = right_padded(lengths, 37)
    y, z = mixer(one, layout)[0][layout.valid], theirs(other, attention_mask=layout.valid)[layout.valid]
    direction = torch.randn_like(y)
    (y * direction).sum().backward()
    (z * direction).sum().backward()
    torch.testing.assert_close(y, z, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(one.grad, other.grad, atol=2e-5, rtol=1e-4)
    for name, ours in mixer.named_parameters():
        if name in ("A_log", "D", "dt_bias", "norm.weight"):
            torch.testing.assert_close(ours.grad, theirs.get_parameter(name).grad, atol=2e-4, rtol=1e-3)


def test_start_values_are_the_published_ones() -> None:
    mixer = SSMConfig(size=1).build(256, Positions())
    NormalInit().apply(mixer, Sizes(256, 0, 1), seed=0)
    assert isinstance(mixer, SSM)
    A, dt = mixer.A_log.exp(), F.softplus(mixer.dt_bias)
    assert 1.0 <= A.min() < 1.3
    assert 15.7 < A.max() <= 16.001
    assert 0.999e-3 <= dt.min() < 1.2e-3
    assert 0.096 < dt.max() <= 0.1001
    assert abs(dt.log().mean() - (math.log(1e-3) + math.log(1e-1)) / 2) < 0.2  # log-uniform, not uniform
    assert (mixer.D == 1).all()
    assert mixer.taps is not None
    assert mixer.taps.abs().max() <= 0.5


def test_the_state_stays_exact_under_autocast() -> None:
    torch.manual_seed(0)
    mixer, x = model(16, torch.float32, state=8, size=8), torch.randn(2, 21, 16)
    state = mixer.init_state(2, 21, device=x.device, dtype=torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        y, after = mixer(x.bfloat16(), dense(2, 21), state)
    exact, _ = mixer(x, dense(2, 21))
    assert after is not None
    assert after.S.dtype == torch.float32
    assert y.dtype == torch.bfloat16
    assert (y - exact).abs().max() < 0.03 * exact.abs().max()
    assert not torch.equal(after.S, after.S.bfloat16().float())  # the recurrence did not run in bfloat16


def test_an_encoder_reads_it_in_both_directions() -> None:
    config = SSMConfig(state=4, size=4)
    assert in_encoder(config) == BidirectionalConfig(mixer=config)
    encoder = in_encoder(config).build(16, Positions())
    NormalInit().apply(encoder, Sizes(16, 1, 1), seed=0)
    x = torch.randn(1, 6, 16, requires_grad=True)
    encoder.encode(x, dense(1, 6))[0, 2].sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(-1) > 0).all()


def test_what_it_cannot_do_depends_on_the_convolution() -> None:
    assert "read" in SSMConfig(size=4).build(16, Positions()).cannot
    assert "read" not in SSMConfig(size=4, conv=0).build(16, Positions()).cannot


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"size=12 does not divide expand \* width = 32; try size=8"):
        SSMConfig(size=12).queries(16)
    with pytest.raises(UserError, match="conv=1"):
        SSMConfig(conv=1)
    assert SSMConfig().head_dim(256) == 64
    assert SSMConfig().head_dim(16) == 32
    assert isinstance(SSMConfig().build(16, Positions()), nn.Module)
