import pytest
import torch
from torch import Tensor

from transduce.model.ops.delta import delta_rule, delta_rule_loop, delta_write


def inputs(T: int = 77, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """q, k, v, beta, S, log_decay, starts"""
    g = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(2, 3, T, 5, generator=g, dtype=torch.float64) for _ in range(2))
    v, S = (torch.randn(2, 3, n, 7, generator=g, dtype=torch.float64) for n in (T, 5))
    beta, decay = (torch.rand(2, 3, T, generator=g, dtype=torch.float64) for _ in range(2))
    starts = torch.rand(2, T, generator=g) < 0.1
    return *(x.to(dtype) for x in (q, k / k.norm(dim=-1, keepdim=True), v, beta, S, -decay)), starts


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("stretch", [2048, 10])
@pytest.mark.parametrize(("T", "chunk"), [(77, 64), (77, 8), (64, 64), (13, 64), (2, 1), (1, 64)])
def test_the_loop_and_the_chunks_agree(decays: bool, documents: bool, T: int, chunk: int, stretch: int) -> None:
    q, k, v, beta, S, log_decay, starts = inputs(T)
    options = log_decay if decays else None, starts if documents else None
    y, after = delta_rule(q, k, v, beta, S, *options, chunk, stretch)
    slow, after_slow = delta_rule_loop(q, k, v, beta, S, *options)
    assert relative(y, slow) < 1e-12
    assert relative(after, after_slow) < 1e-12
    assert relative(delta_write(k, v, beta, S, *options, chunk), after_slow) < 1e-12


@pytest.mark.parametrize("decays", [False, True])
def test_products_of_reflections(decays: bool) -> None:
    """S_t = (I - beta k k^T) a S_{t-1} + beta k v^T, the matrices written out and multiplied up."""
    q, k, v, beta, S, log_decay, starts = inputs(30)
    parts = []
    for t in range(30):
        a = log_decay[:, :, t, None, None].exp() if decays else 1.0
        S = torch.where(starts[:, t, None, None, None], 0.0, S)
        key, b = k[:, :, t, :, None], beta[:, :, t, None, None]
        S = (torch.eye(5, dtype=torch.float64) - b * key @ key.mT) @ (a * S) + b * key @ v[:, :, t, None]
        parts.append(S.mT @ q[:, :, t, :, None])
    y, _ = delta_rule(*inputs(30)[:5], log_decay if decays else None, starts, 16)
    assert relative(y, torch.cat(parts, -1).mT) < 1e-12


def test_the_parallel_form() -> None:
    """One inverse for the whole sequence: Y = tril(Q K^T) (I + tril(diag(beta) K K^T, -1))^-1 diag(beta) V."""
    q, k, v, beta, S, *_ = inputs()
    A = torch.eye(77, dtype=torch.float64) + (beta[..., None] * (k @ k.mT)).tril(-1)
    y = (q @ k.mT).tril() @ torch.linalg.inv(A) @ (beta[..., None] * v)
    assert relative(delta_rule(q, k, v, beta, torch.zeros_like(S), chunk=16)[0], y) < 1e-12


def test_512_tokens_in_float32() -> None:
    for decays in (False, True):
        *tensors, log_decay, starts = inputs(512, dtype=torch.float32)
        exact = delta_rule_loop(*(x.double() for x in tensors), log_decay.double() if decays else None, starts)[0]
        assert relative(delta_rule(*tensors, log_decay if decays else None, starts)[0].double(), exact) < 1e-5


@pytest.mark.parametrize("decays", [False, True])
def test_one_document_of_512_tokens_in_float32(decays: bool) -> None:
    """All at once, by tokens and by chunks, against tokens in float64."""
    *tensors, log_decay, _ = inputs(512, dtype=torch.float32)
    decay = log_decay if decays else None
    exact = delta_rule_loop(*(x.double() for x in tensors), log_decay.double() if decays else None)[0]
    whole, chunks = (delta_rule(*tensors, decay, chunk=size)[0] for size in (512, 32))
    for y in (whole, delta_rule_loop(*tensors, decay)[0], chunks):
        assert y.dtype == torch.float32
        assert relative(y.double(), exact) < 1e-5


@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("stretch", [2048, 10])
def test_gradients_are_those_of_the_loop(decays: bool, read: bool, stretch: int) -> None:
    *tensors, starts = inputs(29)
    g = torch.randn(2, 3, 29, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def gradients(fast: bool) -> tuple[Tensor, ...]:
        leaves = [x.clone().requires_grad_() for x in tensors]
        options = leaves[5] if decays else None, starts
        y, after = delta_rule(*leaves[:5], *options, 8, stretch) if fast else delta_rule_loop(*leaves[:5], *options)
        if fast and not read:
            after = delta_write(*leaves[1:5], *options, 8)
        return torch.autograd.grad((y * g).sum() * read + after.square().sum(), leaves[: 5 + decays])

    for fast, slow in zip(gradients(True), gradients(False), strict=True):
        assert relative(fast, slow) < 1e-11 or not slow.any()


def test_strong_decays_leave_everything_finite() -> None:
    q, k, v, beta, S, log_decay, starts = inputs(200, dtype=torch.float32)
    log_decay = (1000 * log_decay).requires_grad_()
    y, after = delta_rule(q.requires_grad_(), k, v, beta, S, log_decay, starts)
    (y.sum() + after.sum()).backward()
    for x in (y, after, log_decay.grad, q.grad):
        assert x is not None
        assert x.isfinite().all()


def test_padding_writes_nothing() -> None:
    q, k, v, beta, S, log_decay, _ = inputs(40)
    real = torch.arange(40) % 3 != 1
    y, after = delta_rule(q, k * real[:, None], v, beta, S, log_decay * real, chunk=16)
    alone = (x[:, :, real] for x in (q, k, v, beta))
    z, after_alone = delta_rule(*alone, S, log_decay[:, :, real], chunk=16)
    assert relative(y[:, :, real], z) < 1e-12
    assert relative(after, after_alone) < 1e-12


def test_writing_again_replaces() -> None:
    """With beta = 1 a key of length 1 returns its last value, whatever stood there."""
    _, k, v, beta, S, *_ = inputs(2)
    k = k[:, :, :1].expand(-1, -1, 2, -1)
    y, _ = delta_rule(k, k, v, torch.ones_like(beta), S)
    torch.testing.assert_close(y, v, atol=1e-12, rtol=0)


@pytest.mark.parametrize("T", [1, 13, 64, 150])
def test_the_gated_rule_is_that_of_transformers(T: int) -> None:
    """Of Qwen3-Next, by tokens and by chunks, in float32; it divides queries by the root of their size."""
    module = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")
    q, k, v, beta, S, log_decay, _ = inputs(T, dtype=torch.float32)
    y, after = delta_rule(q, k, v, beta, S, log_decay, chunk=16)
    theirs = (x.transpose(1, 2) for x in (q * 5**0.5, k, v, log_decay, beta))
    given = dict(zip(("query", "key", "value", "g", "beta"), theirs, strict=True))
    for rule in (module.torch_recurrent_gated_delta_rule, module.torch_chunk_gated_delta_rule):
        expected, last = rule(**given, initial_state=S, output_final_state=True)
        assert relative(y, expected.transpose(1, 2)) < 1e-5
        assert relative(after, last) < 1e-5
