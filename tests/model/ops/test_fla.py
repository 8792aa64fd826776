"""The way to the kernels of flash-linear-attention: by stand-ins with their interface, and on a GPU by themselves."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import pairwise
from typing import NamedTuple, cast

import pytest
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.ops import fla
from transduce.model.ops.delta import delta_rule, delta_rule_loop
from transduce.model.ops.linear import sum_rule, sum_rule_loop

from .test_delta import inputs, relative

GPU = pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("fla") is None, reason="needs a GPU and flash-linear-attention"
)


def stand_in(name: str) -> fla.Kernel:
    """What their documentation promises, token by token, and none of our code: (B, T, H, ...) tensors, a state for each
    row, or for each document between `cu_seqlens`, where there is one row.

        S <- exp(g_t) S,  S <- S + k_t (beta_t (v_t - S^T k_t))^T for the delta rule, or k_t v_t^T,  o_t = scale S^T q_t
    """

    def kernel(
        q: Tensor, k: Tensor, v: Tensor, g: Tensor | None = None, beta: Tensor | None = None, *, scale: float,
        initial_state: Tensor, output_final_state: bool, cu_seqlens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        assert output_final_state
        assert (beta is None) == (name == "sum")
        assert all(x is None or x.is_contiguous() for x in (q, k, v, g, beta))
        rows, tokens = q.shape[:2]
        if cu_seqlens is None:
            pieces = [(row, 0, tokens) for row in range(rows)]
        else:
            assert rows == 1
            pieces = [(0, a, b) for a, b in pairwise(cu_seqlens.tolist())]
        assert len(initial_state) == len(pieces)
        outputs, states = list[Tensor](), list[Tensor]()
        for (row, a, b), S in zip(pieces, initial_state, strict=True):  # S: (H, K, V)
            for t in range(a, b):
                S = S if g is None else g[row, t, :, None, None].exp() * S
                new = v[row, t]
                if beta is not None:
                    new = beta[row, t, :, None] * (new - torch.einsum("hkv,hk->hv", S, k[row, t]))
                S = S + torch.einsum("hk,hv->hkv", k[row, t], new)
                outputs.append(scale * torch.einsum("hkv,hk->hv", S, q[row, t]))
            states.append(S)
        y = torch.stack(outputs)
        return y.view(rows, tokens, *y.shape[1:]), torch.stack(states)

    return kernel


def test_the_stand_in_is_the_rule_of_transformers() -> None:
    """The loop of Qwen3-Next, which takes the place of the same kernel; it always divides queries by sqrt(D)."""
    theirs = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next").torch_recurrent_gated_delta_rule
    q, k, v, beta, S, decay, _ = inputs(19, dtype=torch.float32)
    q, k, v, beta, g = (x.transpose(1, 2).contiguous() for x in (q, k, v, beta, decay))
    expected = theirs(q, k, v, g=g, beta=beta, initial_state=S, output_final_state=True)
    given = stand_in("delta")(q, k, v, g, beta, scale=q.shape[-1] ** -0.5, initial_state=S, output_final_state=True)
    for ours, other in zip(given, expected, strict=True):
        assert relative(ours, other) < 1e-5


@pytest.mark.parametrize("rule", ["sum", "delta"])
@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("documents", [False, True])
def test_what_is_handed_over(monkeypatch: pytest.MonkeyPatch, rule: str, decays: bool, documents: bool) -> None:
    """A state before the row, documents that begin anywhere or nowhere, decays for all rows at once, gradients."""
    monkeypatch.setattr(fla, "kernel", stand_in)

    def results(by_kernel: bool) -> list[Tensor]:
        q, k, v, beta, S, decay, starts = inputs(23)
        starts[0, 0], starts[1] = True, False
        leaves = [x.requires_grad_() for x in (q, k, v, beta, S, decay[:1])]
        q, k, v, beta, S, decay = leaves
        rest = S, decay if decays else None, starts if documents else None
        if rule == "sum":
            y, after = (fla.sum_rule if by_kernel else sum_rule)(q, k, v, *rest)
        else:
            y, after = (fla.delta_rule if by_kernel else delta_rule)(q, k, v, beta, *rest)
        asked = [x for x in leaves if x is not beta or rule == "delta"][: 5 + decays - (rule == "sum")]
        return [y, after, *torch.autograd.grad(y.square().sum() + after.sum(), asked)]

    for ours, theirs in zip(results(True), results(False), strict=True):
        assert relative(ours, theirs) < 1e-11


def test_the_rules_take_them_where_they_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = list[str]()
    monkeypatch.setattr(fla, "kernel", lambda name: taken.append(name) or stand_in(name))
    monkeypatch.setattr(fla, "applies", lambda q: q.shape[2] > 1)
    q, k, v, beta, S, *_ = inputs(9)
    assert relative(sum_rule(q, k, v, S)[0], sum_rule_loop(q, k, v, S)[0]) < 1e-12
    assert relative(delta_rule(q, k, v, beta, S)[0], delta_rule_loop(q, k, v, beta, S)[0]) < 1e-12
    assert taken == ["sum", "delta"]


def test_they_are_not_taken_unasked_nor_where_they_cannot() -> None:
    assert not fla.applies(torch.zeros(1, 1, 9, 2))
    with pytest.raises(UserError, match="kernels=fla run on a GPU, but this is training on cpu; use kernels=torch"):
        fla.kernels(True, torch.device("cpu")).__enter__()
    if find_spec("fla") is None:
        with pytest.raises(UserError, match=r"pip install 'transduce\[fast\]'"):
            fla.kernels(True, torch.device("cuda")).__enter__()
    assert not fla.applies(torch.zeros(1, 1, 9, 2))


class OnGPU(NamedTuple):
    """What `applies` looks at."""

    shape: tuple[int, ...] = (1, 1, 9, 2)
    is_cuda: bool = True
    dtype: torch.dtype = torch.float32


def chosen() -> bool:
    return fla.applies(cast(Tensor, OnGPU()))


def test_the_choice_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested, after an error, and by who came first but leaves last."""
    monkeypatch.setattr(fla, "find_spec", lambda name: name)
    cuda, first, second = torch.device("cuda"), ExitStack(), ExitStack()
    with fla.kernels(True, cuda):
        assert chosen()
        with pytest.raises(AssertionError), fla.kernels(False, cuda):
            assert chosen()
        assert chosen()
    assert not chosen()
    first.enter_context(fla.kernels(True, cuda))
    second.enter_context(fla.kernels(False, cuda))
    first.close()
    assert not chosen()
    second.close()
    assert not chosen()


def test_another_thread_has_the_same_or_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fla, "find_spec", lambda name: name)

    def other(wanted: bool) -> bool:
        with fla.kernels(wanted, torch.device("cuda")):
            return chosen()

    with ThreadPoolExecutor(1) as pool:
        for mine in (True, False):
            with fla.kernels(mine, torch.device("cuda")):
                assert pool.submit(other, mine).result() == mine
                assert chosen() == mine
                with pytest.raises(UserError, match="cannot run beside a training with"):
                    pool.submit(other, not mine).result()
                assert chosen() == mine
            assert pool.submit(other, not mine).result() != mine
            assert not chosen()


@GPU
@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("documents", [False, True])
def test_the_kernels_agree_on_a_gpu(decays: bool, documents: bool) -> None:
    q, k, v, beta, S, decay, starts = (x.cuda() for x in inputs(300, dtype=torch.float32))
    rest = S, decay if decays else None, starts if documents else None
    for ours, theirs in (
        (fla.sum_rule(q, k, v, *rest), sum_rule(q, k, v, *rest)),
        (fla.delta_rule(q, k, v, beta, *rest), delta_rule(q, k, v, beta, *rest)),
    ):
        for a, b in zip(ours, theirs, strict=True):
            assert relative(a, b) < 5e-3  # TF32 has ten bits
