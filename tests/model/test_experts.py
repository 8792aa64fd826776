"""Experts: the mixture of its formula, independent of the batch; and losses that arise inside a model."""

import math
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig
from transduce.model.auxiliary import collecting, note
from transduce.model.batch import Batch
from transduce.model.feedforward.experts import Experts, ExpertsConfig, balance
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import left_padded, packed, right_padded
from transduce.model.models import Model
from transduce.objectives.language import NextTokenConfig

WIDTH, VOCAB = 8, 13
INNER = MLPConfig(hidden=10, activation="gelu")


def experts(**options: Any) -> Experts:
    module = ExpertsConfig(**{"experts": 5, "inner": INNER, **options}).build(WIDTH).double()
    XavierInit().apply(module, Sizes(WIDTH, 0, 1), seed=0)
    assert isinstance(module, Experts)
    return module


def sample(*shape: int) -> Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def formula(module: Any, x: Tensor) -> Tensor:
    """One token at a time."""
    rows = []
    for token in x.flatten(0, 1):
        bias = 0.0 if module.router.bias is None else module.router.bias
        p = torch.softmax(module.router.weight @ token + bias, 0)
        chosen = sorted(range(len(p)), key=lambda e: -p[e].item())[: module.config.top]
        total = sum(p[e] for e in chosen) if module.config.normalised else 1.0
        y = sum(p[e] / total * module.experts[e](token) for e in chosen)
        gate = 1.0 if module.shared_gate is None else torch.sigmoid(module.shared_gate.weight @ token)
        rows.append(y + gate * sum(shared(token) for shared in module.shared))
    return torch.stack(rows).view(x.shape)


OPTIONS: list[dict[str, Any]] = [
    {"top": 1}, {"top": 2}, {"top": 5}, {"top": 2, "shared": 2}, {"top": 2, "normalise": False},
    {"top": 1, "normalise": True}, {"router_bias": True}, {"shared": 2, "shared_gate": True},
    {"shared": 1, "shared_gate": True, "shared_inner": MLPConfig(hidden=3)}, {"capacity": 7},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_mixture_is_its_formula_with_its_gradients(options: dict[str, Any]) -> None:
    module, x = experts(**options), sample(3, 7)
    valid = torch.ones(3, 7, dtype=torch.bool)
    found = []
    for y in (module(x, valid), formula(module, x)):
        module.zero_grad()
        (y * sample(3, 7).cos()).sum().backward()
        found.append([y, *(torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("top", [1, 2])
def test_beyond_the_capacity_of_a_row_an_expert_gives_nothing(top: int) -> None:
    """Token by token, in order; padding asks for nobody."""
    module, full, x = experts(top=top, capacity=2), experts(top=top), sample(3, 7)
    valid = torch.tensor([[True] * 7, [False, False] + [True] * 5, [True] * 4 + [False] * 3])
    dropped, expected = 0, torch.zeros_like(x)
    for b in range(3):
        taken = [0] * 5
        for t in valid[b].nonzero()[:, 0].tolist():
            weights, chosen, _ = full.route(x[b, t][None])
            for weight, e in zip(weights[0], chosen[0].tolist(), strict=True):
                taken[e] += 1
                dropped += taken[e] > 2
                expected[b, t] += (taken[e] <= 2) * weight * full.experts[e](x[b, t])
    assert dropped > 0
    torch.testing.assert_close(module(x, valid), expected, atol=1e-12, rtol=0)
    assert not module(x, torch.zeros(3, 7, dtype=torch.bool)).any()


def test_a_token_does_not_depend_on_its_batch_however_many_want_its_expert() -> None:
    module, x = experts(), sample(4, 9)
    with torch.no_grad():
        module.router.weight[3] += 5 * x[0, 0]  # this one is asked for most
        alone = torch.cat([module(x[[b]], torch.ones(1, 9, dtype=torch.bool)) for b in range(4)])
        torch.testing.assert_close(module(x, torch.ones(4, 9, dtype=torch.bool)), alone, atol=1e-14, rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_padding_takes_no_expert_and_counts_in_no_balance(training: bool) -> None:
    module, x = experts(), sample(2, 6).requires_grad_(training)
    valid = torch.tensor([[True] * 4 + [False] * 2, [False, True, True, False, True, True]])
    with torch.set_grad_enabled(training), collecting() as side:
        y = module(x, valid)
        other = module(torch.where(valid[..., None], x, 1e3), valid)
        module(x[valid][None], torch.ones(1, 8, dtype=torch.bool))
    assert not y[~valid].any()
    torch.testing.assert_close(y, other, atol=0, rtol=0)
    torch.testing.assert_close(side[0].value, side[1].value, atol=0, rtol=0)
    torch.testing.assert_close(side[0].value, side[2].value)
    nothing = module(x, torch.zeros(2, 6, dtype=torch.bool))  # a chunk may hold no token at all
    assert not nothing.any()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"capacity": 0}, "capacity=0 must be at least 1"),
        ({"shared_gate": True}, "of which there are none; set shared=1"),
        ({"shared": 1, "shared_inner": ExpertsConfig()}, "an expert cannot be of kind experts"),
        ({"top": 9}, "top=9 of experts=8"),
    ],
)
def test_what_has_no_meaning_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        ExpertsConfig(**options)


def test_balance_is_one_where_all_are_used_alike_and_more_where_not() -> None:
    even, counts = torch.full((8, 4), 0.25), torch.tensor([2, 2, 2, 2])
    assert balance(even, counts).item() == pytest.approx(1.0)
    assert balance(torch.eye(4)[[0] * 8], torch.tensor([8, 0, 0, 0])).item() == pytest.approx(4.0)
    p = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7]])
    assert balance(p, torch.tensor([2, 1])).item() == pytest.approx(2 * (2 / 3 * 0.6 + 1 / 3 * 0.4))
    assert balance(p[:1], torch.tensor([1, 0])).item() == pytest.approx(2 * p[0, 0].item())  # one token, one expert
    assert balance(p[:0], torch.tensor([0, 0])).item() == 0.0


def test_what_is_noted_is_the_formula() -> None:
    module, x = experts(top=2, z_loss=0.5, balance=0.1), sample(2, 6)
    with collecting() as side:
        module(x, torch.ones(2, 6, dtype=torch.bool))
    logits = x.flatten(0, 1) @ module.router.weight.T
    p = logits.softmax(-1)
    taken = F.one_hot(p.topk(2).indices, 5).sum((0, 1)) / 24
    even, z = 5 * (taken * p.mean(0)).sum(), logits.exp().sum(-1).log().square().mean()
    assert side.means().keys() == {"balance", "router_z"}
    torch.testing.assert_close(side.means()["balance"], even)
    torch.testing.assert_close(side.means()["router_z"], z)
    torch.testing.assert_close(side.total(), 0.1 * even + 0.5 * z)


def test_the_router_computes_in_float32_under_autocast() -> None:
    module = experts(top=2).float()
    x = sample(2, 6).float()
    with torch.autocast("cpu", torch.bfloat16):
        weights, _, _ = module.route(x.flatten(0, 1).bfloat16())
        y = module(x.bfloat16(), torch.ones(2, 6, dtype=torch.bool))
        y.float().square().sum().backward()
    assert weights.dtype == torch.float32
    assert y.dtype == torch.bfloat16
    exact = (x.flatten(0, 1).bfloat16().float() @ module.router.weight.T).softmax(-1).topk(2).values
    torch.testing.assert_close(weights, exact / exact.sum(-1, keepdim=True))
    assert all(p.grad is not None for p in module.parameters())


def test_an_expert_that_nobody_takes_has_gradient_zero_not_none() -> None:
    module, x = experts(top=1), sample(1, 1)
    module(x, torch.ones(1, 1, dtype=torch.bool)).sum().backward()
    grads = [[p.grad for p in e.parameters()] for e in module.experts]
    assert all(g is not None for part in grads for g in part)
    assert sum(any(g.any() for g in part if g is not None) for part in grads) == 1


def test_nobody_collecting_nothing_is_kept() -> None:
    note("balance", torch.ones(()), 1.0)
    with collecting() as side:
        pass
    assert not side
    with collecting() as outer:
        with collecting() as inner:
            note("a", torch.tensor(2.0), 3.0)
        note("b", torch.tensor(5.0), 7.0)
    assert (inner.total().item(), outer.total().item()) == (6.0, 35.0)


def language_model(**options: Any) -> Model:
    feedforward = {"kind": "experts", "experts": 4, "balance": 0.3, "inner": {"kind": "gated", "hidden": 6}, **options}
    data = {"width": WIDTH, "layers": 2, "mixer": {"heads": 2}, "residual": {"dropout": 0.1}, "positions": "learned"}
    return from_data(DecoderConfig, {**data, "feedforward": feedforward}).build(VOCAB).double()


def language_batch() -> Batch:
    ids = torch.randint(0, VOCAB, (3, 7), generator=torch.Generator().manual_seed(5))
    layout = right_padded(torch.tensor([7, 3, 5]), 7)
    return Batch(ids, layout, torch.where(layout.valid, ids.roll(-1, 1), -1))


def test_the_loss_has_the_balance_once_per_target_and_reports_it() -> None:
    lm, batch = language_model().eval(), language_batch()
    with collecting() as side:
        lm.features(batch)
    assert len(side) == 2
    loss = NextTokenConfig().build()(lm, batch)
    plain = NextTokenConfig().build()(language_model(balance=0.0).eval(), batch)
    assert loss.count.item() == 15
    torch.testing.assert_close(
        (loss.total - plain.total).item() / 15, 0.3 * sum(n.value.item() for n in side), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        loss.metrics["balance"].item() / 15, sum(n.value.item() for n in side) / 2, atol=1e-6, rtol=1e-6
    )
    assert loss.metrics["nll"].item() == pytest.approx(plain.metrics["nll"].item())


def test_a_model_without_experts_has_no_side() -> None:
    lm = from_data(DecoderConfig, {"width": WIDTH, "layers": 1, "mixer": {"heads": 2}}).build(VOCAB)
    assert NextTokenConfig().build()(lm, language_batch()).metrics.keys() == {"nll"}


def test_recomputed_activations_give_the_same_gradients_and_count_nothing_twice() -> None:
    batch, found = language_batch(), []
    for recompute in (False, True):
        lm = language_model(z_loss=0.01).train()
        for block in lm.stacks()[0].blocks if recompute else ():
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        torch.manual_seed(3)
        loss = NextTokenConfig().build()(lm, batch)
        loss.total.backward()
        found.append([loss.total.detach(), loss.metrics["balance"], *(p.grad for p in lm.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)


def test_the_balance_alone_reaches_the_router_and_learns_balance() -> None:
    torch.manual_seed(0)
    module = experts(experts=4, top=1, balance=1.0)
    with torch.no_grad():
        module.router.weight[0] += 1.0
    x, valid = sample(4, 32) + 0.5, torch.ones(4, 32, dtype=torch.bool)
    optimizer, values = torch.optim.Adam([module.router.weight], lr=0.03), []
    for _ in range(60):
        with collecting() as side:
            module(x, valid)
        optimizer.zero_grad()
        side.total().backward()
        optimizer.step()
        values.append(side.total().item())
    assert values[0] > 2
    assert values[-1] < 1.1


def test_decoding_step_by_step_and_packing_give_what_training_saw() -> None:
    lm = language_model().eval()
    ids = torch.randint(0, VOCAB, (2, 6), generator=torch.Generator().manual_seed(6))
    grid = left_padded(torch.tensor([4, 6]), 6)
    with torch.no_grad():
        together = lm.features(Batch(ids, grid, ids))
        state, parts = lm.init_state(2, 6), []
        for t in range(6):
            y, state = lm.step(ids[:, [t]], grid.slice(t, t + 1), state)
            parts.append(y)
        torch.testing.assert_close(torch.cat(parts, 1)[grid.valid], together[grid.valid], atol=1e-6, rtol=1e-6)
        row, joined = ids[grid.valid][None], packed([[4, 6]], 10)
        torch.testing.assert_close(lm.features(Batch(row, joined, row))[0], together[grid.valid], atol=1e-6, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # PyTorch's own, while tracing
def test_compiled_blocks_note_and_learn_the_same() -> None:
    batch, found = language_batch(), []
    torch.compiler.reset()
    for compiled in (False, True):
        lm = language_model().eval()
        for block in lm.stacks()[0].blocks if compiled else ():
            block.compile(backend="eager")
        for _ in range(2):  # the second call finds the first one's trace
            lm.zero_grad()
            loss = NextTokenConfig().build()(lm, batch)
            loss.total.backward()
        found.append([loss.total.detach(), *(p.grad for p in lm.parameters())])
    torch.compiler.reset()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-10)
    assert math.isfinite(found[0][0].item())
