"""The way to the kernels of flash-linear-attention: by stand-ins with their interface, and on a GPU by themselves."""

from importlib.util import find_spec
from itertools import pairwise
from typing import Any

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
    """What they promise: (B, T, H, ...) tensors, a state for each row, or for each document between `cu_seqlens`."""

    def alone(S: Tensor, **x: Tensor) -> tuple[Tensor, Tensor]:
        given = {key: value.transpose(1, 2) for key, value in x.items()}
        decay = given.pop("g", None)
        y, after = (sum_rule_loop if name == "sum" else delta_rule_loop)(*given.values(), S, decay)
        return y.transpose(1, 2), after

    def kernel(
        *, initial_state: Tensor, scale: float, output_final_state: bool, cu_seqlens: Tensor | None = None, **x: Any
    ) -> tuple[Tensor, Tensor]:
        assert scale == 1.0
        assert output_final_state
        assert all(value.is_contiguous() for value in x.values())
        if cu_seqlens is None:
            return alone(initial_state, **x)
        ends = cu_seqlens.tolist()
        assert len(initial_state) == len(ends) - 1
        parts = [
            alone(initial_state[i : i + 1], **{key: value[:, a:b] for key, value in x.items()})
            for i, (a, b) in enumerate(pairwise(ends))
        ]
        ys, afters = zip(*parts, strict=True)
        return torch.cat(ys, 1), torch.cat(afters)

    return kernel


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
