"""Encodings of position against published code, against their formulas, and the facts they rest on."""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPTJConfig, LlamaConfig, T5Config, T5Model, XLNetConfig
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as gptj_rotary
from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as llama_rotary
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.models.xlnet.modeling_xlnet import XLNetModel, XLNetRelativeAttention

from transduce.config import from_data, to_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import Layout, dense, left_padded, packed
from transduce.model.mixers.attention import Attention, AttentionConfig
from transduce.model.models import EncoderDecoder
from transduce.model.positions.absolute import SinusoidalConfig, sinusoid
from transduce.model.positions.alibi import Alibi, AlibiConfig
from transduce.model.positions.alibi import slopes as alibi_slopes
from transduce.model.positions.position import PositionsConfig, Queries
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.positions.scaling import (
    DynamicScalingConfig,
    LinearScalingConfig,
    Llama3ScalingConfig,
    LongRopeScalingConfig,
    ProportionalScalingConfig,
    ScalingConfig,
    YarnScalingConfig,
)
from transduce.model.positions.shaw import ShawConfig
from transduce.model.positions.t5 import T5Config as T5Positions
from transduce.model.positions.t5 import T5Table, bucket
from transduce.model.positions.transformer_xl import RelativeTerms, TransformerXLConfig
from transduce.model.state import over

WIDTH, HEADS, DIM = 12, 3, 4
SCALINGS: list[ScalingConfig] = [
    LinearScalingConfig(factor=3.0),
    YarnScalingConfig(factor=4.0, original=8, beta_fast=2.0, beta_slow=0.1),
    Llama3ScalingConfig(factor=4.0, original=40),
    LongRopeScalingConfig(short=(1.0, 1.5), long=(1.0, 4.0), original=2000, factor=4.0),
    LongRopeScalingConfig(short=(1.0, 1.5), long=(1.0, 4.0), original=4, factor=4.0, extended=True),
    ProportionalScalingConfig(share=0.5),
]
RELATIVE = [*(RotaryConfig(base=50.0, scaling=scaling) for scaling in SCALINGS)]
RELATIVE += [RotaryConfig(), RotaryConfig(fraction=0.5, interleaved=True), AlibiConfig(), TransformerXLConfig()]
RELATIVE += [T5Positions(buckets=6, max_distance=9), ShawConfig(max_distance=20), ShawConfig(max_distance=3)]


def attention(positions: PositionsConfig, causal: bool = True, seed: int = 0, **config: Any) -> Attention:
    """An attention of our width with start values that hide nothing."""
    mixer = AttentionConfig(heads=HEADS, **config)
    encoding = positions.build(WIDTH, mixer.queries(WIDTH)).for_stack(causal).for_mixer()
    built = mixer.build(WIDTH, encoding)
    XavierInit().apply(built, Sizes(WIDTH, 0, 1), seed)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed + 1))
    assert isinstance(built, Attention)
    return built.double()


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- absolute


def test_a_sinusoid_k_places_on_is_a_fixed_rotation() -> None:
    k, dim = 5, 16
    frequency = 10_000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    cos, sin = (k * frequency).cos(), (k * frequency).sin()
    pe = sinusoid(torch.arange(60), dim)
    s, c = pe[:-k, ::2], pe[:-k, 1::2]
    turned = torch.stack([s * cos + c * sin, c * cos - s * sin], -1).flatten(-2)
    torch.testing.assert_close(pe[k:], turned, atol=1e-14, rtol=0)
    products = (pe[:-k] * pe[k:]).sum(-1)
    torch.testing.assert_close(products, cos.sum().expand_as(products), atol=1e-14, rtol=0)


@pytest.mark.parametrize("offset", [0, 2])
@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("order", ["interleaved", "halves"])
def test_sinusoids_are_their_formula_from_the_first_token_on(order: str, ends: bool, offset: int) -> None:
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos of the same; the first pos is 0, or the offset."""
    config = from_data(SinusoidalConfig, {"order": order, "ends": ends, "offset": offset, "limit": 7, "base": 100.0})
    dim, expected = 6, torch.zeros(5, 6, dtype=torch.float64)
    for token in range(5):
        for i in range(dim // 2):
            angle = (token + offset) / 100.0 ** (2 * i / (dim - 2 if ends else dim))
            at = (2 * i, 2 * i + 1) if order == "interleaved" else (i, dim // 2 + i)
            expected[token, at[0]], expected[token, at[1]] = math.sin(angle), math.cos(angle)
    built = config.build(dim, None)
    x = numbers(2, 5, dim)
    torch.testing.assert_close(built.add(x, dense(2, 5).positions) - x, expected.expand(2, -1, -1), atol=1e-6, rtol=0)
    last = built.add(torch.zeros(1, 1, dim), torch.tensor([[6]]))
    torch.testing.assert_close(last[0], sinusoid(torch.tensor([6 + offset]), dim, 100.0, order, ends).float())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
@pytest.mark.parametrize("offset", [0, 2])
def test_the_first_token_of_a_model_stands_at_the_first_position(kind: str, offset: int) -> None:
    """Alone, behind padding, behind another document: what is added to it is the first vector there is."""
    data = {"width": WIDTH, "layers": 1, "mixer": {"heads": HEADS}, "residual": {"dropout": 0.0}}
    model: Any = from_data(DecoderConfig, {**data, "positions": {"kind": kind, "offset": offset}}).build(9)
    ids = torch.tensor([[4, 5, 6, 7, 8]])
    if kind == "learned":
        first, second = model.embed.positions.weight[offset], model.embed.positions.weight[offset + 1]
    else:
        first, second = sinusoid(torch.arange(offset, offset + 2), WIDTH).float()
    for layout, start in (
        (dense(1, 5), 0), (left_padded(torch.tensor([3]), 5), 2), (packed([[3, 2]], 5), 3), (packed([[1, 4]], 5), 1),
    ):  # fmt: skip
        x = model.embed(ids, layout)[0] - WIDTH**0.5 * model.embed.weight[ids[0]]
        torch.testing.assert_close(x[start], first, atol=1e-6, rtol=0)
        torch.testing.assert_close(x[start + 1], second, atol=1e-6, rtol=0)


@pytest.mark.parametrize("positions", RELATIVE, ids=str)
@pytest.mark.parametrize("causal", [True, False])
def test_relative_encodings_see_no_common_shift(positions: PositionsConfig, causal: bool) -> None:
    mixer, x = attention(positions, causal), numbers(2, 7, WIDTH)

    def run(start: int) -> Tensor:  # in segments, so that positions are looked at
        layout = Layout(dense(2, 7, start).positions, torch.zeros(2, 7, dtype=torch.int64))
        return mixer(x, layout)[0] if causal else mixer.encode(x, layout)

    torch.testing.assert_close(run(0), run(900), atol=1e-6 if positions.kind == "rotary" else 1e-10, rtol=0)
    plain = mixer(x, dense(2, 7))[0] if causal else mixer.encode(x, dense(2, 7))
    torch.testing.assert_close(run(0), plain, atol=1e-12, rtol=0)


def test_rounded_alibi_is_the_same_in_a_batch_behind_padding_and_behind_documents() -> None:
    mixer, x = attention(AlibiConfig(rounded=True, scaled=True)), numbers(2, 9, WIDTH)
    alone = mixer(x[:, :4], dense(2, 4))[0]
    behind = torch.cat([numbers(2, 5, WIDTH, seed=7), x[:, :4]], 1)
    for layout in (left_padded(torch.tensor([4, 4]), 9), packed([[5, 4], [5, 4]], 9)):
        torch.testing.assert_close(mixer(behind, layout)[0][:, 5:], alone, atol=1e-12, rtol=0)
    plain = attention(AlibiConfig(scaled=True))(x, dense(2, 9))[0]
    torch.testing.assert_close(mixer(x, dense(2, 9))[0], plain, atol=0.03, rtol=0)
    assert not torch.equal(mixer(x, dense(2, 9))[0], plain)


@pytest.mark.parametrize("positions", RELATIVE, ids=str)
def test_order_matters(positions: PositionsConfig) -> None:
    mixer, x, order = attention(positions, causal=False), numbers(1, 7, WIDTH), torch.tensor([3, 0, 6, 1, 2, 5, 4])
    y, z = mixer.encode(x, dense(1, 7)), mixer.encode(x[:, order], dense(1, 7))
    assert (y[:, order] - z).abs().max() > 1e-2


# --- rotary


@pytest.mark.parametrize("scaling", [1.0, 4.0])
def test_rotary_is_that_of_llama(scaling: float) -> None:
    rope = {"rope_theta": 500.0, "rope_type": "linear" if scaling > 1 else "default"}
    rope |= {"factor": scaling} if scaling > 1 else {}
    theirs = LlamaRotaryEmbedding(LlamaConfig(hidden_size=24, num_attention_heads=3, rope_parameters=rope))
    own = LinearScalingConfig(factor=scaling) if scaling > 1 else None
    ours = RotaryConfig(base=500.0, scaling=own).build(24, Queries(3, 8))
    q, k, positions = torch.randn(2, 9, 3, 8), torch.randn(2, 9, 1, 8), torch.randint(0, 300, (2, 9))
    cos, sin = theirs(q, positions)
    expected = [x.transpose(1, 2) for x in llama_rotary(q.transpose(1, 2), k.transpose(1, 2), cos, sin)]
    torch.testing.assert_close(list(ours.turn(q, k, positions)), expected, atol=5e-5, rtol=0)  # their angles: float32


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_rotary_is_that_of_gpt_j(fraction: float) -> None:
    dim = GPTJConfig(n_embd=24, n_head=3, rotary_dim=int(8 * fraction)).rotary_dim
    ours = RotaryConfig(interleaved=True, fraction=fraction).build(24, Queries(3, 8))
    q, k, positions = torch.randn(2, 9, 3, 8), torch.randn(2, 9, 3, 8), torch.randint(0, 300, (2, 9))
    sin, cos = create_sinusoidal_positions(300, dim)[positions].chunk(2, -1)
    expected = [torch.cat([gptj_rotary(x[..., :dim], sin, cos), x[..., dim:]], -1) for x in (q, k)]
    torch.testing.assert_close(list(ours.turn(q, k, positions)), expected, atol=5e-5, rtol=0)


def test_a_fraction_is_rounded_down_to_pairs() -> None:
    q = torch.randn(1, 4, 2, 10)
    turned = RotaryConfig(fraction=0.55).build(20, Queries(2, 10)).turn(q, q, torch.full((1, 4), 3))[0]
    assert [bool((turned != q)[..., i].all()) for i in range(10)] == [True] * 4 + [False] * 6


def test_dynamic_scaling_leaves_texts_of_training_as_they_are_and_turns_less_from_there() -> None:
    plain, dynamic = (
        RotaryConfig(base=50.0, limit=64, scaling=scaling).build(8, Queries(1, 8)).get_buffer("table")
        for scaling in (None, DynamicScalingConfig(factor=4.0, original=8))
    )
    torch.testing.assert_close(dynamic[:8], plain[:8])
    assert (dynamic[8:] != plain[8:]).any(1).all()
    angles = DynamicScalingConfig(factor=4.0, original=8).frequencies(8, 50.0, 64)
    assert (angles[8:, 1:] < angles[7:-1, 1:]).all()
    assert (angles[:, 0] == 1.0).all()


def test_a_gain_multiplies_queries_and_keys_and_longrope_ends_where_it_was_trained() -> None:
    scaling = LongRopeScalingConfig(short=(1.0, 1.5), long=(1.0, 4.0), original=16, factor=4.0)
    for extended in (False, True):
        places = RotaryConfig(limit=64, scaling=replace(scaling, extended=extended)).build(4, Queries(1, 4))
        q = torch.randn(1, 5, 1, 4)
        turned = places.turn(q, q, torch.arange(5)[None])
        for x in turned:
            torch.testing.assert_close(x.norm(dim=-1), (1 + math.log(4) / math.log(16)) ** 0.5 * q.norm(dim=-1))
        assert places.limit == (64 if extended else 16)


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda s: s.kind)
def test_a_scaling_is_written_in_a_config(scaling: ScalingConfig) -> None:
    places = RotaryConfig(scaling=scaling)
    assert from_data(RotaryConfig, to_data(places)) == places


# --- alibi


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 20])
def test_alibi_slopes_and_scores_are_those_of_bloom(heads: int) -> None:
    tokens = 9
    theirs = build_alibi_tensor(torch.ones(1, tokens, dtype=torch.int64), heads, torch.float32).view(1, heads, 1, -1)
    torch.testing.assert_close(alibi_slopes(heads), theirs[0, :, 0, 1], atol=0, rtol=1e-6)
    ours = Alibi(heads).bias(torch.zeros(1, tokens, heads, 2), None, None, True)
    ahead = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    weights = [x.masked_fill(ahead, -math.inf).softmax(-1) for x in (ours, theirs.expand(-1, -1, tokens, -1))]
    torch.testing.assert_close(*weights)
    assert torch.equal(ours, ours.mT)
    assert ours[0, :, 5, 2].tolist() == (-3 * alibi_slopes(heads)).tolist()


# --- T5


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("buckets", "most"), [(32, 128), (8, 20), (6, 9), (5, 40)])
def test_t5_buckets(buckets: int, most: int, causal: bool) -> None:
    behind = torch.arange(-300, 300)
    theirs = T5Attention._relative_position_bucket(-behind, not causal, buckets, most)
    assert torch.equal(bucket(behind, buckets, most, causal), theirs)


@pytest.mark.parametrize("causal", [True, False])
def test_t5_bias(causal: bool) -> None:
    config = T5Config(
        d_model=12, num_heads=3, d_kv=4, relative_attention_num_buckets=8, relative_attention_max_distance=20
    )
    config.is_decoder = causal
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    ours = T5Positions(buckets=8, max_distance=20).build(12, Queries(3, 4)).for_stack(causal)
    assert isinstance(ours, T5Table)
    ours.weight.data = theirs.relative_attention_bias.weight.detach().clone()
    expected, q = theirs.compute_bias(40, 40), torch.zeros(2, 40, 3, 4)
    places = torch.arange(40).expand(2, 40)
    torch.testing.assert_close(ours.bias(q, places, places), expected.expand(2, -1, -1, -1))
    seen = torch.ones(40, 40, dtype=torch.bool).tril()
    torch.testing.assert_close(ours.bias(q, None, None), expected)
    torch.testing.assert_close(ours.bias(q, None, None, True)[..., seen], expected[..., seen])


def t5(seed: int = 0) -> tuple[EncoderDecoder, T5Model]:
    """Ours and theirs, with the same weights."""
    torch.manual_seed(seed)
    theirs = T5Model(T5Config(
        vocab_size=31, d_model=16, d_kv=6, d_ff=20, num_layers=2, num_heads=3, dropout_rate=0.0,
        relative_attention_num_buckets=8, relative_attention_max_distance=12, feed_forward_proj="relu",
    )).eval()  # fmt: skip
    ours = from_data(EncoderDecoderConfig, {
        "width": 16, "layers": 2, "scale_embedding": False, "norm": "rms-norm", "residual": {"dropout": 0.0},
        "mixer": {"heads": 3, "size": 6, "bias": False, "scale": 1.0}, "feedforward": {"hidden": 20, "bias": False},
        "positions": {"kind": "t5", "buckets": 8, "max_distance": 12},
    }).build(31).eval()  # fmt: skip
    assert isinstance(ours, EncoderDecoder)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    ours.encoder.embed.weight.data = theirs.shared.weight.detach().clone()
    for mine, stack in ((ours.encoder.stack, theirs.encoder), (ours.decoder.stack, theirs.decoder)):
        mine.leave.weight.data = stack.final_layer_norm.weight.detach().clone()  # type: ignore[union-attr]
        table = mine.blocks[0].mix.positions  # type: ignore[union-attr, index]
        table.weight.data = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.detach().clone()
        for block, layers in zip(mine.blocks, (b.layer for b in stack.block), strict=True):
            for sublayer, residual, layer in zip(block.sublayers, block.residuals, layers, strict=True):  # type: ignore
                part: Any = getattr(block, sublayer.names[0])
                residual.norm.weight.data = layer.layer_norm.weight.detach().clone()
                if sublayer.names[0] != "feed":
                    source = layer.SelfAttention if hasattr(layer, "SelfAttention") else layer.EncDecAttention
                    for a, b in zip("qkv", "qkv", strict=True):
                        getattr(part, a).weight.data = getattr(source, b).weight.detach().clone()
                    part.out.weight.data = source.o.weight.detach().clone()
                else:
                    part.up.weight.data = layer.DenseReluDense.wi.weight.detach().clone()
                    part.down.weight.data = layer.DenseReluDense.wo.weight.detach().clone()
    return ours, theirs


def test_a_whole_t5() -> None:
    ours, theirs = t5()
    source, inputs = torch.randint(0, 31, (2, 23)), torch.randint(0, 31, (2, 17))
    expected = theirs(input_ids=source, decoder_input_ids=inputs)
    encoded, _ = ours.encoder(source, dense(2, 23))
    torch.testing.assert_close(encoded, expected.encoder_last_hidden_state, atol=1e-5, rtol=1e-5)
    hidden = ours.features(Batch(inputs, dense(2, 17), inputs, source, dense(2, 23)))
    torch.testing.assert_close(hidden, expected.last_hidden_state, atol=1e-5, rtol=1e-5)


def test_a_stack_shares_one_table_and_has_no_other() -> None:
    ours, _ = t5()
    tables = [name for name, p in ours.named_parameters() if p.shape == (8, 3)]
    assert len(tables) == 2, "one of the encoder, one of the decoder"
    mixers = [m for m in ours.decoder.modules() if isinstance(m, Attention) and isinstance(m.positions, T5Table)]
    assert len(mixers) == 2
    assert mixers[0].positions is mixers[1].positions


# --- Transformer-XL


def xl_formula(m: Attention, x: Tensor, seen: Tensor) -> Tensor:
    """The scores of Dai et al. 2019, sec. 3.3, term by term, in float64. x: (N, M); seen: (N, N) bool."""
    terms, n = m.positions, x.shape[0]
    assert isinstance(terms, RelativeTerms)
    groups = m.k.out_features // DIM
    q = m.q(x).view(n, HEADS, DIM)
    k, v = (f(x).view(n, groups, DIM).repeat_interleave(HEADS // groups, 1) for f in (m.k, m.v))
    frequency = 10_000.0 ** (-torch.arange(0, WIDTH, 2, dtype=torch.float64) / WIDTH)
    scores = torch.zeros(HEADS, n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            r = terms.r(torch.cat([((i - j) * frequency).sin(), ((i - j) * frequency).cos()])).view(HEADS, DIM)
            scores[:, i, j] = (q[i] * k[j] + q[i] * r + terms.u * k[j] + terms.w * r).sum(-1) / math.sqrt(DIM)
    weights = scores.masked_fill(~seen, -math.inf).softmax(-1)
    return m.out(torch.einsum("hij,jhd->ihd", weights, v).flatten(1))


def band(tokens: int, back: int) -> Tensor:
    """Query i sees keys i - back..i."""
    behind = torch.arange(tokens)[:, None] - torch.arange(tokens)
    return (behind >= 0) & (behind <= back)


@pytest.mark.parametrize("config", [{}, {"kv_heads": 1}, {"window": 4}], ids=str)
def test_transformer_xl_is_its_formula(config: dict[str, Any]) -> None:
    m, x = attention(TransformerXLConfig(), **config), numbers(9, WIDTH)
    window = config.get("window", 9)
    expected = xl_formula(m, x, band(9, window - 1))
    torch.testing.assert_close(m(x[None], dense(1, 9))[0][0], expected, atol=1e-12, rtol=0)
    around = band(9, window - 1) | band(9, window - 1).T
    torch.testing.assert_close(m.encode(x[None], dense(1, 9))[0], xl_formula(m, x, around), atol=1e-12, rtol=0)
    grads = [
        torch.autograd.grad(y.square().sum(), list(m.parameters())) for y in (expected, m(x[None], dense(1, 9))[0])
    ]
    torch.testing.assert_close(*grads, atol=1e-10, rtol=1e-8)


HOLES = Layout(torch.tensor([[0, 1, -1, 2, -1, -1, 3, 4, -1]]), torch.zeros(1, 9, dtype=torch.int64))


@pytest.mark.parametrize("positions", [p for p in RELATIVE if p.acts == "bias"], ids=lambda p: p.kind)
@pytest.mark.parametrize("layout", [left_padded(torch.tensor([7]), 9), HOLES], ids=["left", "holes"])
def test_distances_are_those_of_positions_not_of_slots(positions: PositionsConfig, layout: Layout) -> None:
    m, x, tokens = attention(positions), numbers(1, 9, WIDTH), int(layout.valid.sum())
    alone = x[layout.valid][None]
    near = {"atol": 1e-12, "rtol": 0}
    torch.testing.assert_close(m(x, layout)[0][layout.valid], m(alone, dense(1, tokens))[0][0], **near)
    torch.testing.assert_close(m.encode(x, layout)[layout.valid], m.encode(alone, dense(1, tokens))[0], **near)


def test_transformer_xl_keeps_documents_apart() -> None:
    m, x = attention(TransformerXLConfig()), numbers(9, WIDTH)
    y = m(x[None], packed([[4, 5]], 9))[0][0]
    for a, b in ((0, 4), (4, 9)):
        torch.testing.assert_close(y[a:b], xl_formula(m, x[a:b], band(b - a, b - a)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory", [3, 6])
def test_memory_of_a_segment_is_one_pass_with_a_band(memory: int, dtype: torch.dtype) -> None:
    """M tokens of memory, then T more, read from the state: one pass over M + T in which each sees M before itself."""
    m, x, tokens = attention(TransformerXLConfig(), window=memory + 1).to(dtype), numbers(memory + 5, WIDTH), 5
    expected = xl_formula(m.double(), x, band(memory + tokens, memory))[memory:]
    m, x = m.to(dtype), x.to(dtype)
    state = m.init_state(1, memory + tokens, device=x.device, dtype=dtype)
    _, state = m(x[None, :memory], dense(1, memory), state)
    y, _ = m(x[None, memory:], dense(1, tokens, start=memory), state)
    exact = dtype == torch.float64
    torch.testing.assert_close(y[0].double(), expected, atol=1e-12 if exact else 1e-5, rtol=0)


def test_no_gradient_flows_into_a_detached_memory() -> None:
    m, x = attention(TransformerXLConfig(), window=4), numbers(1, 8, WIDTH).requires_grad_()
    for detach in (True, False):
        x.grad = None
        _, state = m(x[:, :3], dense(1, 3), m.init_state(1, 8, device=x.device, dtype=x.dtype))
        state = over(state, torch.detach) if detach else state
        m(x[:, 3:], dense(1, 5, start=3), state)[0].sum().backward()
        assert x.grad is not None
        assert bool(x.grad[:, :3].any()) is not detach
        assert x.grad[:, 3:].any()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("memory", [0, 3])
def test_transformer_xl_is_the_attention_of_xlnet(causal: bool, memory: int) -> None:
    tokens, batch = 6, 2
    config = XLNetConfig(vocab_size=9, d_model=WIDTH, n_head=HEADS, n_layer=1, d_inner=8, dropout=0.0)
    theirs = XLNetRelativeAttention(config).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        places = XLNetModel(config).relative_positional_encoding(tokens, memory + tokens, batch).double()
    m = attention(TransformerXLConfig(), causal=causal, bias=False)
    terms = m.positions
    assert isinstance(terms, RelativeTerms)
    for name, linear in (("q", m.q), ("k", m.k), ("v", m.v), ("r", terms.r)):
        getattr(theirs, name).data = linear.weight.detach().T.reshape(WIDTH, HEADS, DIM).clone()
    theirs.o.data = m.out.weight.detach().reshape(WIDTH, HEADS, DIM).clone()
    theirs.r_w_bias.data, theirs.r_r_bias.data = terms.u.detach().clone(), terms.w.detach().clone()
    x = numbers(batch, memory + tokens, WIDTH)
    ahead = torch.ones(tokens, memory + tokens, dtype=torch.float64).triu(1 + memory) * causal
    q, k, v = (torch.einsum("ibh,hnd->ibnd", x.transpose(0, 1), getattr(theirs, name)) for name in "qkv")
    r = torch.einsum("ibh,hnd->ibnd", places, theirs.r)
    core = theirs.rel_attn_core(q[memory:], k, v, r, attn_mask=ahead[:, :, None, None].expand(-1, -1, batch, HEADS))
    expected = torch.einsum("ibnd,hnd->bih", core, theirs.o)
    if causal:
        state = m.init_state(batch, memory + tokens, device=x.device, dtype=x.dtype)
        _, state = m(x[:, :memory], dense(batch, memory), state) if memory else (None, state)
        y, _ = m(x[:, memory:], dense(batch, tokens, start=memory), state)
    else:
        y = m.encode(x, dense(batch, memory + tokens))[:, memory:]
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=0)  # their sinusoids are in float32


def test_every_mixer_has_terms_of_its_own() -> None:
    model = from_data(DecoderConfig, {"width": 12, "mixer": {"heads": 3}, "layers": 2, "positions": "transformer-xl"})
    terms = [m for m in model.build(7).modules() if isinstance(m, RelativeTerms)]
    assert len(terms) == 2
    assert not torch.equal(terms[0].u, terms[1].u)
    assert terms[0].u.std() < 0.1, "the published start values, not a scheme's for matrices"


# --- shaw


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("most", [3, 20])
def test_shaw_vectors_are_their_formula(most: int, causal: bool) -> None:
    """s_ij = q_i . r_{i-j} / sqrt(D), whichever way it is computed; distances beyond the most are the most."""
    terms, q = attention(ShawConfig(max_distance=most)).positions, numbers(2, 7, HEADS, DIM)
    r, expected = terms.weight.detach(), torch.zeros(2, HEADS, 7, 7, dtype=torch.float64)
    for i in range(7):
        for j in range(7):
            vector = r[:, most + max(-most, min(most, i - j))]
            expected[:, :, i, j] = (q[:, i] * vector).sum(-1) / DIM**0.5
    at = dense(2, 7, 40).positions
    seen = torch.ones(7, 7).tril().bool() if causal else torch.ones(7, 7).bool()
    for bias in (terms.bias(q, None, None, causal), terms.bias(q, at, at)):
        torch.testing.assert_close(bias.masked_fill(~seen, 0), expected.masked_fill(~seen, 0), atol=1e-12, rtol=0)


def test_shaw_vectors_take_no_vector_for_each_pair() -> None:
    """Huang et al. 2018, sec. 3.4: O(T D) beside the scores, where a vector for each pair would take O(T^2 D)."""
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = list[int]()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            sizes.extend(x.untyped_storage().size() // x.element_size() for x in [out] if isinstance(x, Tensor))
            return out

    tokens, dim = 160, 64
    terms = ShawConfig().build(2 * dim, Queries(2, dim)).for_stack(True).for_mixer()
    with torch.no_grad():
        terms.weight.zero_()
        q = torch.randn(1, tokens, 2, dim)
        with Watch():
            terms.bias(q, None, None, True)
    assert max(sizes) == 2 * tokens * (tokens + 1) > 0


# --- in whole models


@pytest.mark.parametrize("kind", ["alibi", "t5", "transformer-xl", "rotary", "shaw"])
def test_an_encoder_decoder_gives_every_parameter_a_gradient(kind: str) -> None:
    data = {"width": 12, "layers": 2, "mixer": {"heads": 3}, "positions": kind}
    model = from_data(EncoderDecoderConfig, data).build(9)
    ids = torch.randint(0, 9, (2, 6))
    model.features(Batch(ids, dense(2, 6), ids, ids, dense(2, 6))).square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without in ([], ["decoder.head.weight"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShawConfig(max_distance=0), "max_distance=0 must be at least 1"),
        (lambda: T5Positions(buckets=2), "buckets=2 must be at least 4"),
        (lambda: T5Positions(max_distance=16), "max_distance=16 leaves nothing to the wider half of buckets=32; use"),
        (lambda: TransformerXLConfig().build(15, Queries(3, 5)), "width=15 is odd"),
        (lambda: RotaryConfig(fraction=0.0), "fraction=0.0 must be above 0"),
        (lambda: LinearScalingConfig(factor=-1.0), "factor=-1.0 must be above 0"),
        (lambda: DynamicScalingConfig(factor=0.5, original=8), "factor=0.5 must be at least 1"),
        (lambda: RotaryConfig(scaling=DynamicScalingConfig(factor=2.0, original=8)).build(4, Queries(2, 2)), "not 2"),
        (lambda: LongRopeScalingConfig(short=(1.0,), long=(), original=8, factor=2.0), "one number above 0 for each"),
        (lambda: RotaryConfig(scaling=SCALINGS[3]).build(24, Queries(3, 8)), "2 numbers each, but 4 pairs are turned"),
        (lambda: ProportionalScalingConfig(share=2.0), "share=2.0 must be from 0 to 1"),
        (lambda: YarnScalingConfig(factor=2.0, original=8, beta_fast=0.5), "beta_fast=0.5 must be at least beta_slow"),
        (lambda: Llama3ScalingConfig(factor=2.0, original=8, high=0.5), "high=0.5 must be above low=1.0"),
        (lambda: RotaryConfig().build(15, Queries(3, 5)), "head_dim=5 is odd"),
    ],
)
def test_what_has_no_meaning_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
