"""Additive attention against its formula, pair by pair, and the limit in which attention selects."""

from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.layout import Layout, dense, left_padded, right_padded
from transduce.model.mixers.additive import AdditiveConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.luong import LuongConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.ops.scores import additive_scores
from transduce.model.positions.position import Positions

B, T, N, M = 3, 5, 7, 12
LENGTHS = torch.tensor([7, 1, 4])
SOURCES = {"dense": dense(B, N), "right": right_padded(LENGTHS, N), "left": left_padded(LENGTHS, N)}


def built(config: MixerConfig) -> Any:
    torch.manual_seed(0)
    return config.build(M, Positions()).double()


def sequences() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    source, asking = (torch.randn(B, n, M, dtype=torch.float64, generator=generator) for n in (N, T))
    return source.requires_grad_(), asking.requires_grad_()


def by_hand(m: Any, source: Tensor, grid: Layout, asking: Tensor) -> tuple[Tensor, Tensor]:
    """e_ij = v^T tanh(W q_i + U k_j), one pair at a time; the answers (B, T, M) and the weights (B, H, T, N)."""
    heads = m.score.out_features
    size, share = m.q.out_features // heads, M // heads
    answers, weights = torch.zeros(B, T, M, dtype=torch.float64), torch.zeros(B, heads, T, N, dtype=torch.float64)
    for b in range(B):
        values = source[b] if isinstance(m.v, torch.nn.Identity) else source[b] @ m.v.weight.T + m.v.bias
        real = grid.valid[b].nonzero()[:, 0].tolist()
        for h in range(heads):
            W, U, v = m.q.weight[h * size : (h + 1) * size], m.k.weight[h * size : (h + 1) * size], m.score.weight[h]
            a = 0 if m.q.bias is None else m.q.bias[h * size : (h + 1) * size]
            for i in range(T):
                e = torch.stack([v @ (W @ asking[b, i] + a + U @ source[b, j]).tanh() for j in real])
                alpha = e.exp() / e.exp().sum()
                weights[b, h, i, real] = alpha
                answers[b, i, h * share : (h + 1) * share] = alpha @ values[real, h * share : (h + 1) * share]
    return m.out(answers), weights


@pytest.mark.parametrize("grid", SOURCES.values(), ids=SOURCES.keys())
@pytest.mark.parametrize("options", [{}, {"heads": 3, "size": 5, "value": True}, {"size": 7, "bias": False}], ids=str)
def test_is_the_formula_with_gradients(options: dict[str, Any], grid: Layout) -> None:
    m = built(AdditiveConfig(**options))
    source, asking = sequences()
    expected, weights = by_hand(m, source, grid, asking)
    found = m.read(asking, dense(B, T), m.write(source, grid))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-10)
    seen = m.recall.read(dense(B, T), m.write(source, grid))
    shown = m.weights(asking, dense(B, T), seen)
    torch.testing.assert_close(shown, weights, atol=1e-12, rtol=1e-10)
    assert not shown.masked_select(~grid.valid[:, None, None]).any(), "exactly zero on padding"
    torch.testing.assert_close(shown.sum(-1), torch.ones(B, m.score.out_features, T, dtype=torch.float64))
    wanted = [source, asking, *m.parameters()]
    mine, theirs = (torch.autograd.grad(y.square().sum(), wanted) for y in (found, expected))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)


def test_a_score_of_zero_weighs_all_that_is_seen_alike() -> None:
    m, grid = built(AdditiveConfig()), SOURCES["left"]
    torch.nn.init.zeros_(m.score.weight)
    source, asking = sequences()
    weights = m.weights(asking, dense(B, T), m.recall.read(dense(B, T), m.write(source, grid)))
    uniform = grid.valid.double() / LENGTHS[:, None]
    torch.testing.assert_close(weights, uniform[:, None, None].expand(B, 1, T, N))


def test_a_query_that_sees_nothing_gets_nothing() -> None:
    m = built(AdditiveConfig())
    source, asking = sequences()
    y = m.read(asking, dense(B, T), m.write(source, right_padded(torch.tensor([7, 0, 4]), N)))
    torch.testing.assert_close(y[1], m.out.bias.expand(T, M))


def test_queries_some_at_a_time_give_the_same_scores_and_gradients() -> None:
    q, k = (torch.randn(B, n, 2, 6, dtype=torch.float64, requires_grad=True) for n in (T, N))
    v = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    whole = additive_scores(q, k, v)
    for pairs in (1, 2 * B * N * 2 * 6):  # one query at a time; two, with one left over
        some = additive_scores(q, k, v, pairs)
        torch.testing.assert_close(some, whole)
        torch.testing.assert_close(additive_scores(q.detach(), k.detach(), v.detach(), pairs), whole.detach())
        mine, theirs = (torch.autograd.grad(s.sin().sum(), [q, k, v], retain_graph=True) for s in (some, whole))
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b)


def test_the_source_is_projected_once() -> None:
    m, calls = built(AdditiveConfig(value=True)), list[str]()
    for name in ("k", "v"):
        m.get_submodule(name).register_forward_hook(lambda *_, n=name: calls.append(n))
    source, asking = sequences()
    memory = m.write(source, dense(B, N))
    for t in range(T):
        m.read(asking[:, [t]], dense(B, 1, t), memory)
    assert calls == ["k", "v"]


def sharpened(config: MixerConfig, tau: float) -> Any:
    """A mixer whose scores are divided by tau."""
    m = built(config)
    with torch.no_grad():
        for name in ("score",) if hasattr(m, "score") else ("k",):
            for parameter in m.get_submodule(name).parameters():
                parameter /= tau
    return m


@pytest.mark.parametrize(
    "config",
    [AdditiveConfig(), LuongConfig(attentional=False), LuongConfig(score="concat", attentional=False)],
    ids=["additive", "general", "concat"],
)
def test_the_limit_of_zero_temperature_selects(config: MixerConfig) -> None:
    """att(q; {(k_j, v_j)}) = v_{argmax_j score(q, k_j)}: the tokens themselves are the values here."""
    source, asking = sequences()
    grid, here = SOURCES["right"], dense(B, T)
    m = sharpened(config, 1.0)
    best = m.weights(asking, here, m.recall.read(here, m.write(source, grid)))[:, 0].argmax(-1)
    selected = m.out(source[torch.arange(B)[:, None], best])
    softer, hard = (sharp.read(asking, here, sharp.write(source, grid)) for sharp in (m, sharpened(config, 1e-6)))
    torch.testing.assert_close(hard, selected, atol=1e-10, rtol=1e-8)
    assert (softer - selected).abs().max() > 0.05


def test_the_limit_of_zero_temperature_selects_in_every_head() -> None:
    m = sharpened(AttentionConfig(heads=3), 1e-6)
    source, asking = sequences()
    q, k, v = m.queries(asking), m.keys(source), m.heads(m.v(source))
    scores = torch.einsum("bthd,bnhd->bthn", q, k).masked_fill(~SOURCES["right"].valid[:, None, None], -torch.inf)
    best = scores.argmax(-1)
    selected = v[torch.arange(B)[:, None, None], best, torch.arange(3)].flatten(2)
    found = m.read(asking, dense(B, T), m.write(source, SOURCES["right"]))
    torch.testing.assert_close(found, m.out(selected), atol=1e-10, rtol=1e-8)


def test_runs_in_bfloat16_and_drops_weights_only_in_training() -> None:
    m = built(AdditiveConfig(heads=2, dropout=0.5)).float()
    source, asking = (x.detach().float() for x in sequences())
    m.train()
    assert not torch.equal(m(source, dense(B, N))[0], m(source, dense(B, N))[0])
    m.eval()
    exact = m(source, dense(B, N))[0]
    with torch.autocast("cpu", torch.bfloat16):
        lower, state = m(source.bfloat16(), dense(B, N), m.init_state(B, N, device=source.device, dtype=torch.float32))
    torch.testing.assert_close(lower.float(), exact, atol=3e-2, rtol=3e-2)
    assert m.read(asking, dense(B, T), state).shape == (B, T, M)


def test_heads_that_do_not_divide_the_width_are_named() -> None:
    with pytest.raises(UserError, match="heads=5 does not divide width=12; try heads=4"):
        AdditiveConfig(heads=5).build(12, Positions())
    with pytest.raises(UserError, match="size=0"):
        AdditiveConfig(size=0)
