"""Matrix memories against their formulas, written out over all pairs of tokens or token by token."""

from collections.abc import Iterator
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import dense, packed
from transduce.model.mixers.bidirectional import in_encoder
from transduce.model.mixers.delta import DeltaConfig, GatedDeltaConfig
from transduce.model.mixers.fast_weights import FastWeightsConfig
from transduce.model.mixers.linear import LinearConfig
from transduce.model.mixers.matrix import MatrixConfig, MatrixMemory
from transduce.model.mixers.retention import RetentionConfig
from transduce.model.ops.features import dpfp, sum_normalised
from transduce.model.positions.position import Positions
from transduce.model.positions.rotary import RotaryConfig
from transduce.testing.sharding import ranks, shard

WIDTH, T = 12, 19
KINDS = (LinearConfig, FastWeightsConfig, DeltaConfig, GatedDeltaConfig, RetentionConfig)


def built(config: MatrixConfig, positions: Positions | None = None) -> MatrixMemory:
    mixer = config.build(WIDTH, positions or Positions())
    XavierInit().apply(mixer, Sizes(WIDTH, 0, 1), seed=0)
    return cast(MatrixMemory, mixer.double())


def tokens(rows: int = 2) -> Tensor:
    return torch.randn(rows, T, WIDTH, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def heads(x: Tensor, count: int) -> Tensor:
    """(B, T, H * D) -> (B, H, T, D)."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def together(y: Tensor) -> Tensor:
    return y.transpose(1, 2).flatten(2)


def rms(y: Tensor) -> Tensor:
    return y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()


@pytest.mark.parametrize("around", [False, True])
def test_normalised_linear_attention(around: bool) -> None:
    """sum_j phi(q_i) phi(k_j) v_j / sum_j phi(q_i) phi(k_j), over all j <= i, or all j."""
    mixer, x = built(LinearConfig(heads=3)), tokens()
    q, k, v = (heads(p(x), 3) for p in (mixer.q, mixer.k, mixer.v))
    weights = torch.where(q > 0, q + 1, q.exp()) @ torch.where(k > 0, k + 1, k.exp()).mT
    weights = weights if around else weights.tril()
    expected = mixer.out(together(weights @ v / (weights.sum(-1, keepdim=True) + 1e-6)))
    y = mixer.encode(x, dense(2, T)) if around else mixer(x, dense(2, T))[0]
    torch.testing.assert_close(y, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("around", [False, True])
def test_the_weights_of_normalised_linear_attention_sum_to_one(around: bool) -> None:
    """Values of ones give ones, up to the 1e-6 that is added to the sum."""
    mixer, x = built(LinearConfig(heads=3, bias=True)), tokens()
    with torch.no_grad():
        mixer.v.weight.zero_()
        mixer.v.bias.fill_(1.0)
        mixer.out.weight.copy_(torch.eye(WIDTH))
        mixer.out.bias.zero_()
    y = mixer.encode(x, dense(2, T)) if around else mixer(x, dense(2, T))[0]
    torch.testing.assert_close(y, torch.ones_like(y), atol=2e-6, rtol=0)


def test_unnormalised_linear_attention_has_an_output_norm() -> None:
    config = LinearConfig(heads=2, feature="dpfp", nu=2, normalise=False)
    mixer, x = built(config), tokens()
    q, k, v = (heads(p(x), 2) for p in (mixer.q, mixer.k, mixer.v))
    y = (dpfp(q, 2) @ dpfp(k, 2).mT).tril() @ v
    torch.testing.assert_close(mixer(x, dense(2, T))[0], mixer.out(together(rms(y))), atol=1e-12, rtol=0)


def test_linear_attention_turns_before_its_features() -> None:
    rotary = RotaryConfig().build(WIDTH, LinearConfig(heads=3).queries(WIDTH)).double()
    mixer, x = built(LinearConfig(heads=3), rotary), tokens()
    layout = dense(2, T)
    q, k = rotary.turn(mixer.heads(mixer.q(x)), mixer.heads(mixer.k(x)), layout.positions)
    weights = ((F.elu(q) + 1).transpose(1, 2) @ (F.elu(k) + 1).permute(0, 2, 3, 1)).tril()
    y = weights @ heads(mixer.v(x), 3) / (weights.sum(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(mixer(x, layout)[0], mixer.out(together(y)), atol=1e-6, rtol=0)
    assert not torch.allclose(mixer(x, dense(2, T, start=3))[0], built(LinearConfig(heads=3))(x, layout)[0])


def test_favor_approaches_softmax_attention() -> None:
    config = LinearConfig(heads=2, feature="favor", features=20_000)
    mixer, x = built(config), tokens() / 2
    q, k, v = (heads(p(x), 2) for p in (mixer.q, mixer.k, mixer.v))
    expected = mixer.out(together(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
    torch.testing.assert_close(mixer(x, dense(2, T))[0], expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("query", ["input", "project"])
def test_fast_weights_that_are_not_squashed_are_linear_attention(query: str) -> None:
    """The controller of 1991 and the unnormalised linear Transformer, step for step."""
    fast = built(FastWeightsConfig(heads=2, query=query, output_norm=False))  # type: ignore[arg-type]
    linear = built(LinearConfig(heads=2, feature="identity", normalise=False, output_norm=False))
    with torch.no_grad():
        linear.q.weight.copy_(torch.eye(WIDTH) if query == "input" else fast.q.weight)  # type: ignore[operator]
        for name in ("k", "v", "out"):
            linear.get_submodule(name).load_state_dict(fast.get_submodule(name).state_dict())
    x = tokens()
    torch.testing.assert_close(fast(x, dense(2, T))[0], linear(x, dense(2, T))[0], atol=1e-12, rtol=0)
    one, other = (m.float().init_state(2, T, device=x.device, dtype=torch.float32) for m in (fast, linear))
    for t in range(T):
        now, token = dense(2, 1, start=t), x[:, t : t + 1].float()
        y, one = fast(token, now, one)
        z, other = linear(token, now, other)
        torch.testing.assert_close(y, z, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(one.S, other.S, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("squash", ["tanh", "sigmoid"])
def test_squashed_fast_weights(squash: str) -> None:
    mixer, x = built(FastWeightsConfig(squash=squash, output_norm=False)), tokens()  # type: ignore[arg-type]
    W, parts = torch.zeros(2, WIDTH, WIDTH, dtype=torch.float64), []
    for t in range(T):
        W = getattr(torch, squash)(W + mixer.v(x)[:, t, :, None] * mixer.k(x)[:, t, None])  # values times keys
        parts.append((W @ x[:, t, :, None])[..., 0])
    torch.testing.assert_close(mixer(x, dense(2, T))[0], mixer.out(torch.stack(parts, 1)), atol=1e-12, rtol=0)


def test_delta_with_dpfp() -> None:
    """W_t = W_{t-1} (I - beta phi phi^T) + beta v phi^T, phi divided by its sum, for queries too."""
    mixer, x = built(DeltaConfig(heads=2)), tokens()
    q, k, v = (heads(p(x), 2) for p in (mixer.q, mixer.k, mixer.v))
    q, k = sum_normalised(dpfp(q)), sum_normalised(dpfp(k))
    expected = mixer.out(together(delta(q, k, v, heads(mixer.get_submodule("beta")(x).sigmoid(), 2))))
    torch.testing.assert_close(mixer(x, dense(2, T))[0], expected, atol=1e-12, rtol=0)


def test_delta_with_keys_of_length_one() -> None:
    mixer, x = built(DeltaConfig(heads=2, feature="l2")), tokens()
    q, k, v = (heads(p(x), 2) for p in (mixer.q, mixer.k, mixer.v))
    q, k = (F.silu(z) / F.silu(z).norm(dim=-1, keepdim=True) for z in (q, k))
    y = delta(q, k, v, heads(mixer.get_submodule("beta")(x).sigmoid(), 2))
    torch.testing.assert_close(mixer(x, dense(2, T))[0], mixer.out(together(rms(y))), atol=1e-12, rtol=0)


def test_gated_delta() -> None:
    mixer, x = built(GatedDeltaConfig(heads=2)), tokens()
    part = mixer.get_submodule
    q, k, v = (heads(p(x), 2) for p in (mixer.q, mixer.k, mixer.v))
    q, k = (F.silu(z) / F.silu(z).norm(dim=-1, keepdim=True) for z in (q, k))
    a = (-part("rate").weight.exp() * F.softplus(part("decay")(x))).exp()  # type: ignore[operator]
    y = delta(q, k, v, heads(part("beta")(x).sigmoid(), 2), heads(a, 2))
    expected = mixer.out(together(rms(y)) * F.silu(part("gate")(x)))
    torch.testing.assert_close(mixer(x, dense(2, T))[0], expected, atol=1e-12, rtol=0)
    assert ((a > 0.15) & (a < 1)).all()  # forgets slowly at first: at most 16 * 0.1 and what W x adds


def delta(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, a: Tensor | None = None) -> Tensor:
    """Token by token with whole matrices: q, k, v: (B, H, T, D), beta, a: (B, H, T, 1)."""
    S, parts = torch.zeros(*k.shape[:2], k.shape[3], v.shape[3], dtype=k.dtype), []
    for t in range(k.shape[2]):
        key, b = k[:, :, t, :, None], beta[:, :, t, :, None]
        S = S if a is None else a[:, :, t, :, None] * S
        S = S - b * key @ (key.mT @ S) + b * key @ v[:, :, t, None]
        parts.append((S.mT @ q[:, :, t, :, None])[..., 0])
    return torch.stack(parts, 2)


def test_retention() -> None:
    """(Q K^T * D) V with D_nm = gamma^(n-m), gamma = 1 - 2^-5, 1 - 2^-6, ...: the parallel form of the paper."""
    mixer, x = built(RetentionConfig(heads=3)), tokens()
    q, k, v = (heads(p(x), 3) for p in (mixer.q, mixer.k, mixer.v))
    gamma = 1 - 2.0 ** -torch.tensor([5, 6, 7], dtype=torch.float64)
    distance = torch.arange(T)[:, None] - torch.arange(T)
    y = (q @ k.mT * gamma[:, None, None] ** distance.clamp(min=0)).tril() @ v
    expected = mixer.out(together(rms(y)) * F.silu(mixer.get_submodule("gate")(x)))
    torch.testing.assert_close(mixer(x, dense(2, T))[0], expected, atol=1e-6, rtol=0)  # gamma is kept in float32
    trained = {name for name, p in mixer.named_parameters() if p.requires_grad}
    assert not any("rate" in name for name in trained)


@pytest.mark.parametrize("config", [LinearConfig(heads=2), DeltaConfig(heads=2), FastWeightsConfig()], ids=str)
def test_encoding_asks_what_every_document_left(config: MatrixConfig) -> None:
    mixer, x = built(config), tokens(rows=1)
    layout = packed([[8, 11]], T)
    y = mixer.encode(x, layout)
    for start, stop in ((0, 8), (8, T)):
        alone, grid = x[:, start:stop], dense(1, stop - start)
        asked = [mixer.read(alone[:, [t]], dense(1, 1), mixer.write(alone, grid)) for t in range(stop - start)]
        torch.testing.assert_close(y[:, start:stop], torch.cat(asked, 1), atol=1e-12, rtol=0)


@pytest.mark.parametrize("config", [GatedDeltaConfig(heads=2), RetentionConfig(heads=2)], ids=str)
def test_what_fades_encodes_in_both_directions(config: MatrixConfig) -> None:
    with pytest.raises(UserError, match="wrap it in bidirectional"):
        built(config).encode(tokens(), dense(2, T))
    assert in_encoder(config).kind == "bidirectional"
    model = EncoderDecoderConfig(width=WIDTH, layers=1, mixer=config).build(20)
    assert sum(p.numel() for p in model.parameters()) > 0


def examples() -> Iterator[MatrixConfig]:
    for kind in KINDS:
        yield from cast("list[MatrixConfig]", kind.examples())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_law_of_sharding_is_not_skipped(kind: type[MatrixConfig]) -> None:
    """Some example has heads that split over ranks, and then every parameter by heads is split."""
    split = []
    for config in kind.examples():
        mixer = config.build(16, Positions())
        if not mixer.tp_plan:
            continue
        if (count := ranks(mixer)) == 1:
            continue
        half = shard(mixer, 0, count)
        split.append(config)
        whole, parts = dict(mixer.named_parameters()), dict(half.named_parameters())
        kept = {n for n in whole if whole[n].shape == parts[n].shape}
        assert kept <= {"norm.weight", "out.bias"}, kept
    assert split


@pytest.mark.parametrize("config", list(examples()), ids=str)
def test_the_state_is_float32_in_bfloat16(config: MatrixConfig) -> None:
    """Under autocast and with weights in bfloat16, outputs and gradients are finite and near those of float32."""
    mixer = built(config).float()
    x, layout = tokens().float(), dense(2, T)
    expected = mixer(x, layout)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = mixer(x, layout)
        state = mixer.write(x, layout)
    assert y.dtype == torch.bfloat16
    assert state.S.dtype == torch.float32
    y.float().square().sum().backward()
    lowered = mixer.bfloat16()
    z, after = lowered(x.bfloat16(), layout, lowered.init_state(2, T, device=x.device, dtype=torch.bfloat16))
    assert z.dtype == torch.bfloat16
    assert after.S.dtype == torch.float32
    for found in (y, z):
        assert ((found.float() - expected).norm() / expected.norm()).item() < 0.1


def test_a_state_is_small_and_does_not_grow() -> None:
    mixer = built(DeltaConfig(heads=3, nu=2))
    state = mixer.init_state(5, 10_000, device=torch.device("cpu"), dtype=torch.float32)
    assert state.S.shape == (5, 3, 2 * 4 * 2, 4)
    normalised = built(LinearConfig(heads=3)).init_state(5, 1, device=torch.device("cpu"), dtype=torch.float32)
    assert normalised.S.shape == (5, 3, 4, 5)


def test_mistakes_of_configurations() -> None:
    with pytest.raises(UserError, match="try heads=4"):
        DecoderConfig(width=16, mixer=LinearConfig(heads=5))
    with pytest.raises(UserError, match="normalise=false"):
        LinearConfig(feature="identity")
    with pytest.raises(UserError, match="nu=8"):
        DecoderConfig(width=16, mixer=DeltaConfig(heads=4, nu=8))
    with pytest.raises(UserError, match="query=project"):
        DecoderConfig(width=16, mixer=FastWeightsConfig(size=5))
    with pytest.raises(UserError, match="heads=0"):
        RetentionConfig(heads=0)
