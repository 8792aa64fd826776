"""The way to the kernels of flash-linear-attention: by stand-ins with their interface, and on a GPU by themselves."""

from importlib.util import find_spec
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.ops import fast
from transduce.model.ops.delta import delta_rule, delta_rule_loop
from transduce.model.ops.linear import sum_rule, sum_rule_loop

from .test_delta import inputs, relative

GPU = pytest.mark.skipif(
    not torch.cuda.is_available() or find_spec("fla") is None, reason="needs a GPU and flash-linear-attention"
)


def stand_in(name: str) -> fast.Kernel:
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
    monkeypatch.setattr(fast, "kernel", stand_in)

    def results(by_kernel: bool) -> list[Tensor]:
        q, k, v, beta, S, decay, starts = inputs(23)
        starts[0, 0], starts[1] = True, False
        leaves = [x.requires_grad_() for x in (q, k, v, beta, S, decay[:1])]
        q, k, v, beta, S, decay = leaves
        rest = S, decay if decays else None, starts if documents else None
        if rule == "sum":
            y, after = (fast.sum_rule if by_kernel else sum_rule)(q, k, v, *rest)
        else:
            y, after = (fast.delta_rule if by_kernel else delta_rule)(q, k, v, beta, *rest)
        asked = [x for x in leaves if x is not beta or rule == "delta"][: 5 + decays - (rule == "sum")]
        return [y, after, *torch.autograd.grad(y.square().sum() + after.sum(), asked)]

    for ours, theirs in zip(results(True), results(False), strict=True):
        assert relative(ours, theirs) < 1e-11


def test_the_rules_take_them_where_they_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = list[str]()
    monkeypatch.setattr(fast, "kernel", lambda name: taken.append(name) or stand_in(name))
    monkeypatch.setattr(fast, "applies", lambda q: q.shape[2] > 1)
    q, k, v, beta, S, *_ = inputs(9)
    assert relative(sum_rule(q, k, v, S)[0], sum_rule_loop(q, k, v, S)[0]) < 1e-12
    assert relative(delta_rule(q, k, v, beta, S)[0], delta_rule_loop(q, k, v, beta, S)[0]) < 1e-12
    assert taken == ["sum", "delta"]


def test_they_are_not_taken_unasked_nor_where_they_cannot() -> None:
    assert not fast.applies(torch.zeros(1, 1, 9, 2))
    with pytest.raises(UserError, match="kernels=fla run on a GPU, but this is training on cpu; use kernels=torch"):
        fast.use(True, torch.device("cpu"))
    if find_spec("fla") is None:
        with pytest.raises(UserError, match=r"pip install 'transduce\[fast\]'"):
            fast.use(True, torch.device("cuda"))
    assert not fast.applies(torch.zeros(1, 1, 9, 2))


@GPU
@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("documents", [False, True])
def test_the_kernels_agree_on_a_gpu(decays: bool, documents: bool) -> None:
    q, k, v, beta, S, decay, starts = (x.cuda() for x in inputs(300, dtype=torch.float32))
    rest = S, decay if decays else None, starts if documents else None
    for ours, theirs in (
        (fast.sum_rule(q, k, v, *rest), sum_rule(q, k, v, *rest)),
        (fast.delta_rule(q, k, v, beta, *rest), delta_rule(q, k, v, beta, *rest)),
    ):
        for a, b in zip(ours, theirs, strict=True):
            assert relative(a, b) < 5e-3  # TF32 has ten bits
