"""Attention against torch, against published code, and the facts that hold of any correct attention."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from transformers import Gemma2Config, Qwen3Config
from transformers.models.gemma2.modeling_gemma2 import Gemma2Attention, Gemma2RotaryEmbedding
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention, Qwen3RotaryEmbedding

from transduce.config import from_data
from transduce.errors import UserError
from transduce.inspect.counts import flops
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import Layout, dense, left_padded, right_padded
from transduce.model.mixers.attention import Attention, AttentionConfig
from transduce.model.norms.norm import LayerNorm, RMSNorm
from transduce.model.ops.attention import attend
from transduce.model.positions.alibi import AlibiConfig
from transduce.model.positions.position import NoPositionsConfig, PositionsConfig
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.positions.t5 import T5Config
from transduce.model.positions.transformer_xl import TransformerXLConfig

WIDTH, HEADS = 12, 3


def attention(positions: PositionsConfig | None = None, width: int = WIDTH, **config: Any) -> Attention:
    mixer = AttentionConfig(**{"heads": HEADS, **config})
    encoding = (positions or NoPositionsConfig()).build(width, mixer.queries(width)).for_stack(True).for_mixer()
    built = mixer.build(width, encoding)
    XavierInit().apply(built, Sizes(width, 0, 1), 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    assert isinstance(built, Attention)
    return built


def formula(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, bias: Tensor, scale: float, cap: float | None) -> Tensor:
    """Head by head in float64; zeros where a query sees nothing."""
    q, k, v, bias = (x.double() for x in (q, k, v, bias))
    batch, tokens, heads, _ = q.shape
    seen, bias = (x.expand(batch, heads, tokens, k.shape[1]) for x in (seen, bias))
    rows = list[Tensor]()
    for b in range(batch):
        for h in range(heads):
            g, some = h * k.shape[2] // heads, seen[b, h].any(-1)
            s = q[b, some, h] @ k[b, :, g].T * scale
            s = s if cap is None else cap * torch.tanh(s / cap)
            a = (s + bias[b, h, some]).masked_fill(~seen[b, h, some], -math.inf).softmax(-1)
            rows.append(v.new_zeros(tokens, v.shape[-1]).index_put((some,), a @ v[b, :, g]))
    return torch.stack(rows).view(batch, heads, tokens, -1).transpose(1, 2).flatten(2)


# --- the pure function


@pytest.mark.parametrize("learns", [False, True], ids=["fixed bias", "trained bias"])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("tokens", [7, 67], ids=["written out", "fused"])
@pytest.mark.parametrize("rows", [1, 2], ids=["one bias", "a bias per row"])
@pytest.mark.parametrize("hidden", ["nothing", "ahead", "mask"])
def test_a_bias_is_added_to_the_scores(tokens: int, grad: bool, learns: bool, rows: int, hidden: str) -> None:
    torch.manual_seed(0)
    q = torch.randn(2, tokens, 4, 5, requires_grad=grad)
    k, v = (torch.randn(2, tokens, 2, 5, requires_grad=grad) for _ in range(2))
    bias = torch.randn(rows, 4, tokens, tokens, requires_grad=grad and learns)
    mask = torch.rand(2, 1, tokens, tokens) > 0.4 if hidden == "mask" else None
    if mask is not None:
        mask[0, 0, 3] = False  # a query that sees nothing
    seen = mask if mask is not None else torch.ones(tokens, tokens, dtype=torch.bool)
    seen = seen.tril() if hidden == "ahead" else seen
    with torch.set_grad_enabled(grad):
        y = attend(q, k, v, mask, causal=hidden == "ahead", bias=bias, scale=0.3)
    expected = formula(q, k, v, seen, bias, 0.3, None)
    torch.testing.assert_close(y.double(), expected, atol=2e-6, rtol=0)
    if mask is not None:
        assert not y[0, 3].any()
    if grad:
        inputs = [q, k, v, *([bias] if learns else [])]
        found, right = (torch.autograd.grad(z.square().sum(), inputs) for z in (y, expected))
        torch.testing.assert_close(found, right, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_scores_are_capped_before_the_bias(grad: bool, biased: bool, causal: bool) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 9, 2, 4, requires_grad=grad) for _ in range(3))
    bias = torch.randn(1, 2, 9, 9) if biased else None
    with torch.set_grad_enabled(grad):
        y = attend(q, k, v, causal=causal, bias=bias, softcap=0.7)
    seen = torch.ones(9, 9, dtype=torch.bool)
    expected = formula(q, k, v, seen.tril() if causal else seen, torch.zeros(1) if bias is None else bias, 0.5, 0.7)
    torch.testing.assert_close(y.double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("kind", ["none", "causal", "bool", "float"])
def test_equals_scaled_dot_product_attention(kind: str, grad: bool) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 13, 3, 4, requires_grad=grad) for _ in range(3))
    mask, bias = torch.rand(2, 1, 13, 13) > 0.3, torch.randn(2, 3, 13, 13)
    ours: dict[str, Any] = {"causal": {"causal": True}, "bool": {"mask": mask}, "float": {"bias": bias}}.get(kind, {})
    theirs = {"causal": {"is_causal": True}, "bool": {"attn_mask": mask}, "float": {"attn_mask": bias}}.get(kind, {})
    expected = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), **theirs)  # type: ignore
    with torch.set_grad_enabled(grad):
        y = attend(q, k, v, **ours)
    torch.testing.assert_close(y, expected.transpose(1, 2).flatten(2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("tokens", [7, 67])
def test_a_query_that_sees_nothing_gives_zeros_beside_a_bias(dtype: torch.dtype, grad: bool, tokens: int) -> None:
    q, k, v = (torch.randn(2, tokens, 2, 4, dtype=dtype, requires_grad=grad) for _ in range(3))
    bias = torch.randn(1, 2, tokens, tokens, requires_grad=grad)
    mask = torch.ones(2, 1, tokens, tokens, dtype=torch.bool)
    mask[1, 0, 2] = False
    y = attend(q, k, v, mask, bias=bias)
    assert y.dtype == dtype
    assert not y[1, 2].any()
    assert y.isfinite().all()
    if grad:
        y.float().square().sum().backward()
        for x in (q, k, v, bias):
            assert x.grad is not None
            assert x.grad.isfinite().all()
        assert q.grad is not None
        assert not q.grad[1, 2].any()


def test_bare_attention_has_no_parameters() -> None:
    """softmax(x x^T) x, which keeps the order of its rows."""
    x, order = torch.randn(2, 7, WIDTH, dtype=torch.float64), torch.tensor([3, 0, 6, 1, 2, 5, 4])

    def bare(x: Tensor) -> Tensor:
        one_head = x[:, :, None]
        return attend(one_head, one_head, one_head, scale=1.0)

    weights = torch.einsum("bik,bjk->bij", x, x).exp()
    expected = torch.einsum("bij,bjk,bi->bik", weights, x, 1 / weights.sum(-1))
    torch.testing.assert_close(bare(x), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(bare(x[:, order]), bare(x)[:, order], atol=1e-12, rtol=0)


def test_variance_of_a_product_is_its_size_hence_the_scale() -> None:
    torch.manual_seed(0)
    for size in (16, 64, 256):
        q, k = torch.randn(2, 10_000, size).unbind(0)
        assert (q * k).sum(-1).var().item() == pytest.approx(size, rel=0.05)


def test_cost_is_quadratic_in_tokens() -> None:
    def cost(tokens: int) -> int:
        q, k, v = (torch.randn(1, tokens, 2, 8, requires_grad=True) for _ in range(3))
        return flops(lambda: attend(q, k, v))

    assert [cost(n) for n in (16, 32, 64)] == [2 * 2 * n * n * 2 * 8 for n in (16, 32, 64)]


# --- the mixer


def theirs_of(m: Attention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    theirs.in_proj_weight.data = torch.cat([x.weight for x in (m.q, m.k, m.v)]).detach().clone()
    theirs.in_proj_bias.data = torch.cat([x.bias for x in (m.q, m.k, m.v)]).detach().clone()
    theirs.out_proj.load_state_dict(m.out.state_dict())
    return theirs


def test_equals_multi_head_attention_of_torch() -> None:
    m, x, lengths = attention(), torch.randn(2, 7, WIDTH), torch.tensor([7, 4])
    theirs, layout, absent = theirs_of(m), right_padded(lengths, 7), torch.arange(7) >= lengths[:, None]
    ahead = torch.ones(7, 7, dtype=torch.bool).triu(1)
    near = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(m.encode(x, dense(2, 7)), theirs(x, x, x)[0], **near)
    torch.testing.assert_close(m(x, dense(2, 7))[0], theirs(x, x, x, attn_mask=ahead)[0], **near)
    padded = theirs(x, x, x, key_padding_mask=absent)[0]
    torch.testing.assert_close(m.encode(x, layout)[~absent], padded[~absent], **near)
    y = torch.randn(2, 5, WIDTH)
    crossed, weights = theirs(y, x, x, key_padding_mask=absent, average_attn_weights=False)
    memory = m.write(x, layout)
    torch.testing.assert_close(m.read(y, dense(2, 5), memory), crossed, **near)
    found = m.weights(y, dense(2, 5), m.recall.read(dense(2, 5), memory))
    torch.testing.assert_close(found, weights, **near)


@pytest.mark.parametrize("causal", [True, False])
def test_one_head_is_scaled_dot_product_attention_between_projections(causal: bool) -> None:
    m, x, layout = attention(heads=1).double(), torch.randn(2, 7, WIDTH, dtype=torch.float64), dense(2, 7)
    expected = m.out(F.scaled_dot_product_attention(m.q(x), m.k(x), m.v(x), is_causal=causal))
    y = m(x, layout)[0] if causal else m.encode(x, layout)
    torch.testing.assert_close(y, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "positions", [None, RotaryConfig(), AlibiConfig(), T5Config(), TransformerXLConfig()], ids=lambda p: p and p.kind
)
@pytest.mark.parametrize("config", [{}, {"softcap": 0.5, "qk_norm": RMSNorm(), "scale": 2.0, "kv_heads": 1}], ids=str)
def test_weights_sum_to_one_and_are_those_used(positions: PositionsConfig | None, config: dict[str, Any]) -> None:
    if isinstance(positions, TransformerXLConfig):
        config = {key: value for key, value in config.items() if key not in ("scale", "softcap")}  # which are refused
    m, x = attention(positions, **config), torch.randn(2, 7, WIDTH)
    seen = m.recall.read(dense(2, 7), m.write(x, dense(2, 7)))
    weights = m.weights(x, dense(2, 7), seen)
    assert weights.shape == (2, HEADS, 7, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, HEADS, 7))
    v = seen.fields[1].transpose(1, 2).repeat_interleave(HEADS // seen.fields[1].shape[2], 1)
    y = m.out((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(y, m.encode(x, dense(2, 7)), atol=2e-6, rtol=1e-5)


def test_without_positions_it_is_permutation_equivariant() -> None:
    m, x, order = attention(), torch.randn(2, 7, WIDTH), torch.tensor([3, 0, 6, 1, 2, 5, 4])
    y = m.encode(x, dense(2, 7))
    torch.testing.assert_close(m.encode(x[:, order], dense(2, 7)), y[:, order], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "positions", [None, RotaryConfig(), AlibiConfig(), T5Config(), TransformerXLConfig()], ids=lambda p: p and p.kind
)
def test_one_layer_reaches_all_of_the_past_and_none_of_the_future(positions: PositionsConfig | None) -> None:
    m, x = attention(positions), torch.randn(1, 6, WIDTH)
    j: Tensor = jacobian(lambda x: m(x, dense(1, 6))[0], x)[0, :, :, 0]  # type: ignore[assignment]
    reach = j.abs().amax((1, 3))
    assert not reach.triu(1).any(), "exactly zero"
    assert bool((reach[torch.ones(6, 6, dtype=torch.bool).tril()] > 0).all())


@pytest.mark.parametrize("positions", [AlibiConfig(), T5Config(), TransformerXLConfig()], ids=lambda p: p.kind)
@pytest.mark.parametrize("layout", [right_padded(torch.tensor([9, 5]), 9), left_padded(torch.tensor([9, 5]), 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_biases_under_autocast(positions: PositionsConfig, layout: Layout, dtype: torch.dtype) -> None:
    m, x = attention(positions), torch.randn(2, 9, WIDTH)
    for run in (lambda: m(x, layout)[0], lambda: m.encode(x, layout)):
        expected = run()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = run()
        error = (y.float() - expected)[layout.valid].abs().max()
        assert error < (0.1 if dtype == torch.bfloat16 else 1e-6)
        y.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in m.parameters())


# --- normalised queries and keys, capped scores


def copy(m: Attention, theirs: nn.Module) -> None:
    for ours, name in ((m.q, "q_proj"), (m.k, "k_proj"), (m.v, "v_proj"), (m.out, "o_proj")):
        getattr(theirs, name).weight.data = ours.weight.detach().clone()


def test_qk_norm_is_that_of_qwen3() -> None:
    config = Qwen3Config(
        hidden_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=8, attention_bias=False,
        max_position_embeddings=64,
    )  # fmt: skip
    config._attn_implementation = "eager"
    m = attention(RotaryConfig(), 24, heads=4, kv_heads=2, size=8, bias=False, qk_norm=RMSNorm(eps=config.rms_norm_eps))
    theirs = Qwen3Attention(config, 0).eval()
    copy(m, theirs)
    assert m.q_norm is not None
    assert m.k_norm is not None
    theirs.q_norm.load_state_dict(m.q_norm.state_dict())
    theirs.k_norm.load_state_dict(m.k_norm.state_dict())
    x, places = torch.randn(2, 11, 24), torch.arange(11).expand(2, 11)
    ahead = torch.full((11, 11), -math.inf).triu(1)[None, None]
    expected = theirs(x, Qwen3RotaryEmbedding(config)(x, places), ahead)[0]
    torch.testing.assert_close(m(x, dense(2, 11))[0], expected, atol=1e-5, rtol=0)


def test_scale_and_softcap_are_those_of_gemma2() -> None:
    config = Gemma2Config(
        hidden_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=8, attention_bias=False,
        query_pre_attn_scalar=2, attn_logit_softcapping=1.5,
    )  # fmt: skip
    config._attn_implementation = "eager"
    m = attention(RotaryConfig(), 24, heads=4, kv_heads=2, size=8, bias=False, scale=2**-0.5, softcap=1.5)
    theirs = Gemma2Attention(config, 0).eval()
    copy(m, theirs)
    x, places = torch.randn(2, 11, 24), torch.arange(11).expand(2, 11)
    ahead = torch.full((11, 11), -math.inf).triu(1)[None, None]
    expected = theirs(x, Gemma2RotaryEmbedding(config)(x, places), ahead)[0]
    torch.testing.assert_close(m(x, dense(2, 11))[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", [LayerNorm(), RMSNorm()], ids=lambda n: n.kind)
def test_normalised_queries_forget_the_size_of_their_projection(norm: Any) -> None:
    m, x = attention(qk_norm=norm, bias=False), torch.randn(2, 7, WIDTH)
    y = m.encode(x, dense(2, 7))
    with torch.no_grad():
        m.q.weight *= 50
        m.k.weight *= 50
    torch.testing.assert_close(m.encode(x, dense(2, 7)), y, atol=2e-3, rtol=0)  # up to eps
    built = attention(qk_norm=norm)
    XavierInit().apply(built, Sizes(WIDTH, 0, 1), 0)
    assert built.q_norm is not None
    assert torch.equal(built.q_norm.weight, torch.ones(WIDTH // HEADS))  # type: ignore[arg-type]


def test_options_are_read_from_plain_data() -> None:
    data = {"heads": 2, "qk_norm": "rms-norm", "softcap": 30, "scale": 1}
    assert from_data(AttentionConfig, data) == AttentionConfig(heads=2, qk_norm=RMSNorm(), softcap=30.0, scale=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttentionConfig(scale=0.0), "scale=0.0 must be above 0"),
        (lambda: AttentionConfig(softcap=-2.0), "softcap=-2.0 must be above 0"),
    ],
)
def test_what_has_no_meaning_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("option", [{"scale": 1.0}, {"softcap": 2.0}], ids=str)
def test_scores_that_positions_are_part_of_are_neither_scaled_nor_capped(option: dict[str, float]) -> None:
    with pytest.raises(UserError, match="transformer-xl positions are part of the scaled scores"):
        attention(TransformerXLConfig(), **option)


@pytest.mark.parametrize("tokens", [1, 3, 15, 16, 31, 40, 130])
@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_without_a_gradient_at_every_length(tokens: int, masked: bool) -> None:
    q, k, v = (torch.randn(2, tokens, 3, 8) for _ in range(3))
    mask = torch.arange(tokens) < torch.tensor([[tokens], [tokens // 2]]) if masked else None
    mask = None if mask is None else mask[:, None, None]
    with torch.no_grad():
        expected, found = (attend(q.to(x), k.to(x), v.to(x), mask) for x in (torch.float64, torch.bfloat16))
    torch.testing.assert_close(found.double(), expected, atol=0.05, rtol=0.05)
