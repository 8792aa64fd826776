"""Latent attention against DeepSeek's, both of its forms against each other, and what it keeps."""

from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.layout import dense, right_padded
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.latent import LatentConfig
from transduce.model.positions.position import Positions
from transduce.model.positions.rotary import RotaryConfig
from transduce.model.state import nbytes

B, T, M = 2, 13, 24


def built(config: LatentConfig, rotary: RotaryConfig | None = None) -> Any:
    torch.manual_seed(0)
    positions = Positions() if rotary is None else rotary.build(M, config.queries(M))
    return config.build(M, positions)


@pytest.mark.parametrize("q_rank", [None, 10])
@pytest.mark.parametrize("interleaved", [True, False])
def test_equals_deepseek(q_rank: int | None, interleaved: bool) -> None:
    modeling = pytest.importorskip("transformers.models.deepseek_v3.modeling_deepseek_v3")
    from transformers import DeepseekV3Config

    theirs_config = DeepseekV3Config(
        hidden_size=M, num_attention_heads=3, num_key_value_heads=3, q_lora_rank=q_rank, kv_lora_rank=14,
        qk_nope_head_dim=5, qk_rope_head_dim=4, v_head_dim=6, rope_interleave=interleaved,
        max_position_embeddings=64, attn_implementation="eager", rope_scaling=None,
    )  # fmt: skip
    torch.manual_seed(1)
    theirs = modeling.DeepseekV3Attention(theirs_config, 0).double().eval()
    turn = modeling.DeepseekV3RotaryEmbedding(theirs_config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
    config = LatentConfig(heads=3, size=5, rope_size=4, value=6, kv_rank=14, q_rank=q_rank)
    mine = built(config, RotaryConfig(interleaved=interleaved, limit=64)).double().eval()
    table = {"kv_latent": "kv_a_proj_with_mqa", "kv_norm": "kv_a_layernorm", "kv": "kv_b_proj", "out": "o_proj"}
    table |= {"q": "q_proj"} if q_rank is None else {"q_latent": "q_a_proj", "q_norm": "q_a_layernorm", "q": "q_b_proj"}
    mine.load_state_dict({f"{m}.weight": theirs.get_submodule(t).weight for m, t in table.items()}, strict=True)
    x = torch.randn(B, T, M, dtype=torch.float64)
    grid = dense(B, T)
    hidden = torch.full((T, T), -torch.inf, dtype=torch.float64).triu(1)[None, None]
    mine_x, theirs_x = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = theirs(theirs_x, turn(x.float(), grid.positions), hidden)[0]
    found = mine(mine_x, grid)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for y in (found, expected):
        y.square().sum().backward()
    torch.testing.assert_close(mine_x.grad, theirs_x.grad, atol=1e-5, rtol=1e-5)
    for m, t in table.items():
        a, b = mine.get_submodule(m).weight.grad, theirs.get_submodule(t).weight.grad
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    state, parts = mine.init_state(B, T, device=x.device, dtype=x.dtype), list[Tensor]()
    for t in range(T):
        y, state = mine(x[:, [t]], dense(B, 1, t), state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grid", [dense(B, T), right_padded(torch.tensor([T, 6]), T)], ids=["dense", "right"])
def test_both_forms_are_equal_with_gradients(grid: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    m = built(LatentConfig(heads=3, q_rank=7, value=5), RotaryConfig()).double()
    x = torch.randn(B, T, M, dtype=torch.float64, requires_grad=True)
    found = []
    for absorbed in (True, False):
        monkeypatch.setattr(m, "asks_latents", lambda *_, a=absorbed: a)
        y = m(x, grid)[0][grid.valid]
        found.append([y, *torch.autograd.grad(y.square().sum(), [x, *m.parameters()])])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


def test_decoding_never_makes_keys_of_the_memory() -> None:
    m, calls = built(LatentConfig(heads=4)), list[int]()
    m.kv.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(B, T, M)
    m(x, dense(B, T))
    assert len(calls) == 1, "a whole sequence is cheaper with keys and values"
    _, state = m(x[:, :6], dense(B, 6), m.init_state(B, T, device=x.device, dtype=x.dtype))
    calls.clear()
    m(x[:, 6:7], dense(B, 1, 6), state)
    m.read(x[:, :1], dense(B, 1), m.write(x, dense(B, T)))
    assert not calls


def test_the_cheaper_form_is_taken() -> None:
    """Sizes of DeepSeek-V2: queries are taken to the latents for as many tokens as the count of products says."""
    m = LatentConfig(heads=2, size=128).build(256, Positions())
    keys, made, rank = 100_000, 256, 512

    def absorbed(tokens: int) -> int:
        return tokens * made * rank + 2 * tokens * keys * rank

    def expanded(tokens: int) -> int:
        return keys * made * rank + tokens * keys * made

    chosen: Any = m
    for tokens in (1, 100, 169, 171, 4096):
        assert chosen.asks_latents(tokens, keys) == (absorbed(tokens) < expanded(tokens))
    assert chosen.asks_latents(169, keys)
    assert not chosen.asks_latents(171, keys)


def test_keeps_one_latent_and_one_key_per_token() -> None:
    here = {"device": torch.device("cpu"), "dtype": torch.float32}
    latent = LatentConfig(heads=8, kv_rank=16, rope_size=4).build(64, Positions()).init_state(1, 112, **here)
    full = AttentionConfig(heads=8).build(64, Positions()).init_state(1, 112, **here)
    assert latent.fields[0].shape == (1, 113, 16 + 4)
    assert nbytes(latent.fields) * 128 == nbytes(full.fields) * 20


def test_weights_are_those_that_were_used() -> None:
    m = built(LatentConfig(heads=3, value=5), RotaryConfig()).double()
    x, grid = torch.randn(B, T, M, dtype=torch.float64), dense(B, T)
    kept, seen = list[Tensor](), m.recall.forward(m.fields(x, grid), grid, None)[0]
    m.out.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    m(x, grid)
    weights, size = m.weights(x, grid, seen), m.sizes
    values = m.kv(seen.fields[0][..., : size.rank]).view(B, T, 3, -1)[..., size.plain :]
    torch.testing.assert_close(torch.einsum("bhtn,bnhe->bthe", weights, values).flatten(2), kept[0])
    assert not weights.triu(1).any()


def test_runs_in_bfloat16() -> None:
    m = built(LatentConfig(heads=4, q_rank=9), RotaryConfig())
    x = torch.randn(B, T, M)
    exact = m(x, dense(B, T))[0]
    with torch.autocast("cpu", torch.bfloat16):
        whole = m(x.bfloat16(), dense(B, T))[0]
        state = m.init_state(B, T, device=x.device, dtype=torch.float32)
        first, state = m(x[:, :1].bfloat16(), dense(B, 1), state)
        second, _ = m(x[:, 1:2].bfloat16(), dense(B, 1, 1), state)
    torch.testing.assert_close(whole.float(), exact, atol=3e-2, rtol=3e-2)
    torch.testing.assert_close(torch.cat([first, second], 1).float(), exact[:, :2], atol=3e-2, rtol=3e-2)


def test_published_proportions_are_the_default() -> None:
    assert LatentConfig(heads=2).sizes(256) == (128, 64, 128, 512)
    assert LatentConfig(heads=4).queries(24) == (4, 2)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UserError, match="heads=5 does not divide width=24"):
        LatentConfig(heads=5).queries(24)
    with pytest.raises(UserError, match="head_dim=3 is odd"):
        built(LatentConfig(heads=4, rope_size=3), RotaryConfig())
