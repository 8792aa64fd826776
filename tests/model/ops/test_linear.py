import pytest
import torch
from torch import Tensor

from transduce.model.ops.linear import spans, squash_rule, sum_rule, sum_rule_loop, sum_write


def inputs(T: int = 77, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """q, k, v, S, log_decay, starts"""
    g = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(2, 3, T, 5, generator=g, dtype=torch.float64) for _ in range(2))
    v, S = (torch.randn(2, 3, n, 7, generator=g, dtype=torch.float64) for n in (T, 5))
    log_decay = -torch.rand(2, 3, T, generator=g, dtype=torch.float64)
    starts = torch.rand(2, T, generator=g) < 0.1
    return *(x.to(dtype) for x in (q, k, v, S, log_decay)), starts


def quadratic(q: Tensor, k: Tensor, v: Tensor, S: Tensor, log_decay: Tensor | None, starts: Tensor | None) -> Tensor:
    """All pairs of tokens at once, decays multiplied out step by step, without exponentials of sums."""
    T = q.shape[2]
    a = torch.ones(q.shape[:3], dtype=q.dtype) if log_decay is None else log_decay.exp()
    a = a if starts is None else a * ~starts[:, None]
    weights = torch.zeros(*q.shape[:3], T, dtype=q.dtype)
    for j in range(T):
        weights[:, :, j:, j] = torch.cat([torch.ones_like(a[:, :, :1]), a[:, :, j + 1 :].cumprod(2)], 2)
    return (weights * (q @ k.mT)) @ v + a.cumprod(2)[..., None] * (q @ S)


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("stretch", [2048, 10])
@pytest.mark.parametrize(("T", "chunk"), [(77, 64), (77, 8), (64, 64), (13, 64), (2, 1), (1, 64)])
def test_the_loop_the_chunks_and_all_pairs_agree(
    decays: bool, documents: bool, T: int, chunk: int, stretch: int
) -> None:
    q, k, v, S, log_decay, starts = inputs(T)
    options = log_decay if decays else None, starts if documents else None
    y, after = sum_rule(q, k, v, S, *options, chunk, stretch)
    slow, after_slow = sum_rule_loop(q, k, v, S, *options)
    assert relative(y, slow) < 1e-12
    assert relative(after, after_slow) < 1e-12
    assert relative(y, quadratic(q, k, v, S, *options)) < 1e-12
    assert relative(sum_write(k, v, S, *options), after_slow) < 1e-12


def test_512_tokens_in_float32() -> None:
    for decays in (False, True):
        q, k, v, S, log_decay, starts = inputs(512, dtype=torch.float32)
        options = log_decay if decays else None, starts
        exact = sum_rule_loop(*(x.double() for x in (q, k, v, S)), log_decay.double() if decays else None, starts)[0]
        assert relative(sum_rule(q, k, v, S, *options)[0].double(), exact) < 1e-5


@pytest.mark.parametrize("decays", [False, True])
def test_one_document_of_512_tokens_in_float32(decays: bool) -> None:
    """By pairs, by tokens and by chunks, against tokens in float64."""
    *tensors, log_decay, _ = inputs(512, dtype=torch.float32)
    decay = log_decay if decays else None
    exact = sum_rule_loop(*(x.double() for x in tensors), log_decay.double() if decays else None)[0]
    found = quadratic(*tensors, decay, None), sum_rule_loop(*tensors, decay)[0], sum_rule(*tensors, decay)[0]
    for y in found:
        assert y.dtype == torch.float32
        assert relative(y.double(), exact) < 1e-5


@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("stretch", [2048, 10])
def test_gradients_are_those_of_the_loop(decays: bool, stretch: int) -> None:
    *tensors, starts = inputs(29)
    g = torch.randn(2, 3, 29, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def gradients(rule: object) -> tuple[Tensor, ...]:
        leaves = [x.clone().requires_grad_() for x in tensors]
        y, after = rule(*leaves[:4], leaves[4] if decays else None, starts)  # type: ignore[operator]
        return torch.autograd.grad((y * g).sum() + after.square().sum(), leaves[: 4 + decays])

    for fast, slow in zip(gradients(lambda *a: sum_rule(*a, 8, stretch)), gradients(sum_rule_loop), strict=True):
        assert relative(fast, slow) < 1e-12
    written = gradients(lambda q, k, v, *a: (q.sum() * torch.zeros_like(v), sum_write(k, v, *a)))
    looped = gradients(lambda q, *a: (0 * sum_rule_loop(q, *a)[0], sum_rule_loop(q, *a)[1]))
    for fast, slow in zip(written, looped, strict=True):
        assert relative(fast, slow) < 1e-12 or not slow.any()


def test_strong_decays_leave_everything_finite() -> None:
    """Sums of decays far beyond the range of exp, and documents, in float32."""
    q, k, v, S, log_decay, starts = inputs(200, dtype=torch.float32)
    log_decay = (1000 * log_decay).requires_grad_()
    y, after = sum_rule(q.requires_grad_(), k, v, S, log_decay, starts)
    (y.sum() + after.sum()).backward()
    for x in (y, after, log_decay.grad, q.grad):
        assert x is not None
        assert x.isfinite().all()


def test_exponents_are_at_most_zero() -> None:
    *_, k, _, _, log_decay, starts = inputs(200)
    for weights in spans(log_decay, starts, k, 64):
        assert weights is not None
        assert (weights >= 0).all()
        assert (weights <= 1).all()


def test_padding_writes_nothing() -> None:
    """A token whose key and log_decay are 0 may be left out."""
    q, k, v, S, log_decay, _ = inputs(40)
    real = torch.arange(40) % 3 != 1
    y, after = sum_rule(q, k * real[:, None], v, S, log_decay * real, chunk=16)
    z, after_alone = sum_rule(*(x[:, :, real] for x in (q, k, v)), S, log_decay[:, :, real], chunk=16)
    assert relative(y[:, :, real], z) < 1e-12
    assert relative(after, after_alone) < 1e-12


def test_one_orthonormal_key_returns_its_value() -> None:
    """Hebb's rule, one write and one read: the idea of 1981."""
    q, _, v, S, *_ = inputs(4)
    k = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0][:4].expand(2, 3, 4, 5)
    empty = torch.zeros_like(S)
    after = sum_write(k, v, empty)
    torch.testing.assert_close(k @ after, v, atol=1e-12, rtol=0)
    torch.testing.assert_close(sum_rule(k, k, v, empty)[0], v, atol=1e-12, rtol=0)
    assert not torch.allclose(sum_rule(q, k, v, empty)[0], v)


def test_squashing_by_the_identity_is_the_sum_rule() -> None:
    q, k, v, S, _, starts = inputs(21)
    valid = torch.ones_like(starts)
    y, after = squash_rule(q, k, v, S, lambda x: x, valid, starts)
    slow, after_slow = sum_rule_loop(q, k, v, S, None, starts)
    torch.testing.assert_close(y, slow)
    torch.testing.assert_close(after, after_slow)
    squashed, _ = squash_rule(q, k, v, S, torch.tanh, valid, starts)
    assert not torch.allclose(squashed, slow)


def test_the_cost_is_linear() -> None:
    """Every operation on 16 times as many tokens makes at most 16 times as many numbers, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    def flops(T: int) -> int:
        q, k, v, S, log_decay, starts = (x[:1, :1] if x.ndim > 2 else x[:1] for x in inputs(T))
        with FlopCounterMode(display=False) as counter:
            sum_rule(q.requires_grad_(), k, v.requires_grad_(), S, log_decay, starts)[0].sum().backward()
        return counter.get_total_flops()

    assert flops(4096) == 16 * flops(256)
