import pytest
import torch
import torch.nn.functional as F
from torch import nn

from transduce.inspect.counts import flops, parameters, saved_bytes, state_bytes
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.convolution import ConvolutionConfig
from transduce.model.mixers.elman import ElmanConfig
from transduce.model.mixers.gru import GRUConfig
from transduce.model.mixers.lstm import LSTMConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.positions.position import Positions
from transduce.model.residual.norm_first import PreNormConfig
from transduce.objectives.language import NextTokenConfig, TranslationConfig

M, HIDDEN, L, V, B, T, N = 32, 128, 2, 50, 3, 7, 11
NONE = PreNormConfig(dropout=0.0)


def test_parameters_of_every_part_add_up_and_tied_ones_count_once() -> None:
    model = EncoderDecoderConfig(width=M, layers=L).build(V)
    counts = parameters(model)
    attention, feed = L * (4 * M * M + 4 * M), L * (2 * M * HIDDEN + HIDDEN + M)
    assert counts == {
        "encoder embedding = decoder embedding = head": V * M,
        "encoder norms": 2 * M * (2 * L + 1),
        "encoder mixers": attention,
        "encoder feed-forward": feed,
        "decoder norms": 2 * M * (3 * L + 1),
        "decoder mixers": attention,
        "decoder cross attention": attention,
        "decoder feed-forward": feed,
    }
    assert sum(counts.values()) == sum(p.numel() for p in model.parameters())


def test_parameters_of_an_untied_decoder() -> None:
    counts = parameters(DecoderConfig(width=M, layers=1, tie_embeddings=False).build(V))
    assert list(counts) == ["embedding", "norms", "mixers", "feed-forward", "head"]
    assert counts["embedding"] == counts["head"] == V * M


def translation_batch() -> Batch:
    ids = torch.randint(0, V, (B, T))
    return Batch(ids, dense(B, T), ids, torch.randint(0, V, (B, N)), dense(B, N))


def test_flops_are_those_of_the_formula() -> None:
    model, batch = EncoderDecoderConfig(width=M, layers=L, residual=NONE).build(V), translation_batch()
    objective = TranslationConfig(label_smoothing=0.0).build()
    encoder = L * (4 * M * M + 2 * M * HIDDEN) * N  # multiplications per row, of the weights
    decoder = L * (4 * M * M + 2 * M * HIDDEN + 2 * M * M) * T + L * 2 * M * M * N + M * V * T
    attention = L * 2 * M * (N * N + T * T + T * N)  # scores and sums
    forward = 2 * B * (encoder + decoder + attention)
    with torch.no_grad():
        assert flops(lambda: objective(model, batch)) == forward
    backward = flops(lambda: objective(model, batch).total.backward())
    scores = 2 * B * attention // 2  # which a fused kernel makes again
    assert backward in (3 * forward, 3 * forward + scores)


def test_flops_of_the_fused_attention_of_a_cpu() -> None:
    q, k, v = (torch.randn(B, 4, n, 8, requires_grad=True) for n in (T, N, N))
    products = 2 * B * 4 * T * N * 8
    assert flops(lambda: F.scaled_dot_product_attention(q, k, v)) == 2 * products
    assert flops(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward()) == (2 + 5) * products


def test_saved_bytes_are_what_a_linear_layer_keeps() -> None:
    layer, x = nn.Linear(8, 16), torch.randn(5, 8)
    assert saved_bytes(layer, lambda: layer(x)) == x.nbytes  # its input, and not its weight
    assert saved_bytes(layer, lambda: layer(layer.weight[:, :8])) == 0


def test_saved_bytes_grow_with_the_batch() -> None:
    model, objective = DecoderConfig(width=M, layers=L, residual=NONE).build(V), NextTokenConfig().build()
    few, many = (
        saved_bytes(
            model, lambda b=b: objective(model, Batch(torch.zeros(b, T).long(), dense(b, T), torch.zeros(b, T).long()))
        )
        for b in (10, 20)
    )
    assert 1.7 < many / few <= 2.1


@pytest.mark.parametrize("kv_heads", [None, 1])
def test_state_bytes_are_those_of_keys_values_and_positions(kv_heads: int | None) -> None:
    mixer = AttentionConfig(heads=4, kv_heads=kv_heads)
    keys = M if kv_heads is None else M // 4
    found = state_bytes(EncoderDecoderConfig(width=M, layers=L, mixer=mixer).build(V))
    assert found.per_token == L * (2 * 4 * keys + 8)
    assert found.per_source_token == L * 2 * 4 * keys
    alone = state_bytes(DecoderConfig(width=M, layers=L, mixer=mixer).build(V))
    assert (alone.per_token, alone.per_source_token) == (found.per_token, 0)


def test_a_window_stops_the_growth() -> None:
    windowed = DecoderConfig(width=M, layers=L, mixer=AttentionConfig(heads=4, window=5)).build(V)
    assert state_bytes(windowed).per_token == 0


def test_the_fused_kernel_of_the_lstm_is_counted_as_its_products() -> None:
    mixer = LSTMConfig().build(8, Positions())
    x = torch.randn(2, 5, 8, requires_grad=True)
    with torch.no_grad():
        forward = flops(lambda: mixer(x, dense(2, 5)))
    assert forward == 2 * 2 * 5 * (4 * 8 * 8 + 4 * 8 * 8)
    assert flops(lambda: mixer(x, dense(2, 5))[0].sum().backward()) == 3 * forward


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # which have kernels of their own
@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize(
    ("config", "squares", "besides"),
    [
        (ElmanConfig(), 2, 0),
        (ElmanConfig(activation="sigmoid"), 2, 0),
        (GRUConfig(), 6, 0),
        (LSTMConfig(bias=False), 8, 0),
        (ConvolutionConfig(kernel=5), 11, 0),
        (AttentionConfig(), 4, 2 * 70 * 70 * 8),
        (AttentionConfig(window=3), 4, 2 * 80 * 32 * 8),  # blocks of 16 tokens, each with the one before it
    ],
)
def test_every_way_through_a_mixer_is_counted(
    config: MixerConfig, squares: int, besides: int, gradient: bool, dtype: torch.dtype
) -> None:
    mixer, x = config.build(8, Positions()).to(dtype), torch.randn(1, 70, 8, dtype=dtype)
    with torch.set_grad_enabled(gradient):
        assert flops(lambda: mixer(x, dense(1, 70))) == 2 * (squares * 70 * 8 * 8 + besides)
