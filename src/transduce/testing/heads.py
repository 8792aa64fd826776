"""The laws of heads. Each law is a function of a head and raises AssertionError where it is broken.

    from transduce.testing.heads import WIDTH, built, laws_of
    head = built(config)
    for law in laws_of(head): law(head, WIDTH)

Every comparison covers the outputs and the gradients of the hidden states and of all parameters. Some laws hold for
heads that predict tokens alone, or for heads of rows alone.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.model.heads.head import Head, HeadConfig, PooledHead, TokenHead
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.layout import Layout, dense, left_padded, packed, right_padded
from transduce.model.norms.norm import LayerNorm
from transduce.model.ops import loss as ops
from transduce.testing.runs import close, close_gradients

WIDTH, VOCAB, ROWS = 12, 23, 11
LENGTHS = (9, 13, 1)
Run = Callable[[Any, Tensor], Tensor]


def built(config: HeadConfig, width: int = WIDTH, vocab_size: int = VOCAB) -> Head:
    """Returns a head with a table of its own, and start values that hide no mistake, as biases of 0 would."""
    head = config.build(vocab_size, width, LayerNorm(), None)
    assert head is not None, f"head={config.kind} builds no head"
    XavierInit().apply(head, Sizes(width, 0, 1), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return head.eval()


def drawn(head: Head, *shape: int, seed: int = 2) -> Tensor:
    """Returns random hidden states."""
    x = 2.0 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.to(dtype_of(head))


def dtype_of(head: Head) -> torch.dtype:
    return next((p.dtype for p in head.parameters()), torch.float32)


def targets_of(head: Head, rows: int = ROWS) -> Tensor:
    return torch.randint(0, head.size, (rows,), generator=torch.Generator().manual_seed(3))


def weights_of(head: Head) -> Tensor:
    """Returns a weight for each target; one of them is 0, one is negative."""
    weights = 2.0 * torch.rand(ROWS, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    weights[0], weights[1] = 0.0, -0.5
    return weights.to(dtype_of(head))


def outcome(head: Head, x: Tensor, run: Run) -> list[Tensor]:
    """Returns the output of a run, and the gradients of a fixed random projection of it."""
    leaves = [x.detach().clone().requires_grad_(), *head.parameters()]
    y = run(head, leaves[0])
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, leaves, direction, allow_unused=True, materialize_grads=True)]


def equal(ours: Sequence[Tensor], others: Sequence[Tensor], law: str) -> None:
    close(ours[0], others[0].to(ours[0].dtype), f"{law}, output")
    for mine, other in zip(ours[1:], others[1:], strict=True):
        close_gradients(mine, other.to(mine.dtype), f"{law}, gradient")


def same(ours: Sequence[Tensor], others: Sequence[Tensor], law: str) -> None:
    for mine, other in zip(ours, others, strict=True):
        assert torch.equal(mine, other), f"{law}: other bits"


def formula(head: TokenHead, x: Tensor, targets: Tensor, smoothing: float, weights: Tensor) -> Tensor:
    """Returns sum_i w_i ((1 - s) (-log p_i(y_i)) + s mean_v (-log p_i(v)))."""
    logs = head(x).log_softmax(-1)
    losses = -(1 - smoothing) * logs.gather(1, targets[:, None])[:, 0] - smoothing * logs.mean(-1)
    return (weights * losses).sum()


def shape(head: Head, width: int) -> None:
    """A head gives `size` numbers, in float32 or float64, for each token or each row."""
    x = drawn(head, 3, 5, width)
    y = head(x) if head.per == "token" else head(x, dense(3, 5))
    assert y.shape == ((3, 5, head.size) if head.per == "token" else (3, head.size)), f"shape: {tuple(y.shape)}"
    assert y.dtype == torch.promote_types(dtype_of(head), torch.float32), f"shape: {y.dtype}"
    if head.per == "token":
        close(head(x.flatten(0, 1)), y.flatten(0, 1), "shape, one row of all tokens")


def loss(head: Head, width: int) -> None:
    """The loss is that of the formula on the logits, in float64; its second part is -log p, without a gradient."""
    assert isinstance(head, TokenHead)
    x, targets, ones = drawn(head, ROWS, width), targets_of(head), torch.ones(ROWS).double()
    exact = deepcopy(head).double()
    for s in (0.0, 0.2):
        ours = outcome(head, x, lambda h, x, s=s: h.loss(x, targets, s)[0])
        equal(ours, outcome(exact, x.double(), lambda h, x, s=s: formula(h, x, targets, s, ones)), f"loss, {s}")
        nll = head.loss(x, targets, s)[1]
        assert not nll.requires_grad, "loss: -log p has a gradient"
        close(nll, formula(exact, x.double(), targets, 0.0, ones).to(nll.dtype), "loss, -log p")


def weighted(head: Head, width: int) -> None:
    """Weights multiply the loss of each target; weights of 1 change no bit, and a weight of 0 leaves a target out."""
    assert isinstance(head, TokenHead)
    x, targets, weights = drawn(head, ROWS, width), targets_of(head), weights_of(head)
    exact, ones = deepcopy(head).double(), torch.ones_like(weights)
    for s in (0.0, 0.2):
        ours = outcome(head, x, lambda h, x, s=s: h.loss(x, targets, s, weights)[0])
        expected = outcome(exact, x.double(), lambda h, x, s=s: formula(h, x, targets, s, weights.double()))
        equal(ours, expected, f"weighted, {s}")
        assert not ours[1][0].any(), "weighted: a target of weight 0 has a gradient"
        plain = outcome(head, x, lambda h, x, s=s: h.loss(x, targets, s)[0])
        same(plain, outcome(head, x, lambda h, x, s=s: h.loss(x, targets, s, ones)[0]), f"weighted, ones, {s}")
    nll = head.loss(x, targets, 0.2, weights)[1]
    close(nll, formula(exact, x.double(), targets, 0.0, weights.double()).to(nll.dtype), "weighted, -log p")


def log_p(head: Head, width: int) -> None:
    """log p of each target, and its gradient, are those of the logits."""
    assert isinstance(head, TokenHead)
    x, targets = drawn(head, ROWS, width), targets_of(head)
    exact = deepcopy(head).double()
    ours = outcome(head, x, lambda h, x: h.log_p(x, targets))
    assert ours[0].shape == (ROWS,)
    plain = outcome(exact, x.double(), lambda h, x: h(x).log_softmax(-1).gather(1, targets[:, None])[:, 0])
    equal(ours, plain, "log p")

    def run(x: Tensor, *_: Tensor) -> Tensor:  # parameters are moved in place
        return exact.log_p(x, targets[:3])

    few = drawn(head, 3, width).double().requires_grad_()
    torch.autograd.gradcheck(run, (few, *exact.parameters()), fast_mode=True)


def chunks(head: Head, width: int) -> None:
    """Loss and log p do not depend on the number of rows in a chunk."""
    assert isinstance(head, TokenHead)
    x, targets, weights = drawn(head, ROWS, width), targets_of(head), weights_of(head)
    runs: dict[str, Run] = {
        "loss": lambda h, x: h.loss(x, targets, 0.0, weights)[0],
        "smoothed loss": lambda h, x: h.loss(x, targets, 0.2)[0],
        "log p": lambda h, x: h.log_p(x, targets),
    }
    for name, run in runs.items():
        whole = outcome(head, x, run)
        for rows in (1, 4):
            with mock.patch.object(ops, "CHUNK_ROWS", 1), mock.patch.object(ops, "CHUNK_ELEMENTS", rows * head.size):
                equal(outcome(head, x, run), whole, f"chunks of {rows}, {name}")


def nothing(head: Head, width: int) -> None:
    """Without targets the loss is 0 and log p has no entries; both have a gradient, of 0."""
    assert isinstance(head, TokenHead)
    none = torch.zeros(0, dtype=torch.int64)
    for weights in (None, torch.zeros(0)):
        total, *gradients = outcome(head, drawn(head, 0, width), lambda h, x, w=weights: h.loss(x, none, 0.0, w)[0])
        assert total.item() == 0.0
        assert not any(g.any() for g in gradients)
    y, *_ = outcome(head, drawn(head, 0, width), lambda h, x: h.log_p(x, none))
    assert y.shape == (0,)


def padding(head: Head, width: int) -> None:
    """Padding on the right, on the left or between tokens changes nothing, whatever it holds, and gets no gradient."""
    assert isinstance(head, PooledHead)
    x = drawn(head, len(LENGTHS), max(LENGTHS), width)
    for layout in layouts():
        valid = layout.valid

        def alone(h: Head, x: Tensor, valid: Tensor = valid) -> Tensor:
            """Each row without its padding."""
            return torch.cat(
                [h(row[real][None], dense(1, int(real.sum()))) for row, real in zip(x, valid, strict=True)]
            )

        expected = outcome(head, x, alone)
        for filler in (0.0, 1e4, float("nan")):
            filled = torch.where(valid[..., None], x, filler)
            ours = outcome(head, filled, lambda h, x, layout=layout: h(x, layout))
            assert not ours[1][~valid].any(), "padding: a gradient reaches it"
            equal(ours, expected, "padding")


def layouts() -> list[Layout]:
    """Returns rows of 9, 13 and 1 tokens: padded on the right, on the left, and with padding between."""
    lengths, most = torch.tensor(LENGTHS), max(LENGTHS)
    holes = right_padded(lengths, most).positions.clone()
    holes[0] = torch.tensor([0, -1, 1, 2, -1, -1, 3, 4, 5, 6, 7, 8, -1])
    return [right_padded(lengths, most), left_padded(lengths, most), Layout(holes, torch.zeros_like(holes))]


def batch(head: Head, width: int) -> None:
    """A row has the same prediction alone and in a batch."""
    assert isinstance(head, PooledHead)
    x = drawn(head, 3, 7, width)
    close(torch.cat([head(row[None], dense(1, 7)) for row in x]), head(x, dense(3, 7)), "batch")


def packing(head: Head, width: int) -> None:
    """A row of several documents is refused with a message; a row of a single document is not."""
    assert isinstance(head, PooledHead)
    x, message = drawn(head, 2, 13, width), None
    head(x, packed([[13], [9]], 13))
    try:
        head(x, packed([[13], [4, 9]], 13))
    except UserError as error:
        message = str(error)
    assert message is not None, "packing: a row of several documents has one prediction"
    assert "several documents" in message, f"packing: the refusal does not say why: {message}"


def derivatives(head: Head, width: int) -> None:
    """The gradients are those of finite differences."""
    exact = deepcopy(head).double()
    x = drawn(exact, 2, 4, width).double().requires_grad_()

    def run(x: Tensor, *_: Tensor) -> Tensor:  # parameters are moved in place
        return exact(x) if exact.per == "token" else exact(x, right_padded(torch.tensor([4, 3]), 4))

    torch.autograd.gradcheck(run, (x, *exact.parameters()), fast_mode=True)


def lower_precision(head: Head, width: int) -> None:
    """Under autocast to bfloat16, hidden states of both precisions give gradients, and equal numbers up to rounding.

    Weights in bfloat16 give outputs in float32, too.
    """
    if dtype_of(head) == torch.float64:
        return
    head, targets = deepcopy(head).train(), targets_of(head)
    quiet = deepcopy(head).eval()
    x = drawn(head, ROWS, 1, width)
    runs: list[Run] = [lambda h, x: h(x) if h.per == "token" else h(x, dense(ROWS, 1))]
    if isinstance(head, TokenHead):
        losses: Run = lambda h, x: h.loss(x[:, 0], targets, 0.1, torch.ones(ROWS))[0]  # noqa: E731
        logs: Run = lambda h, x: h.log_p(x[:, 0], targets)  # noqa: E731
        runs += [losses, logs]
    for run in runs:
        exact = run(quiet, x).detach()
        for dtype in (torch.bfloat16, torch.float32):
            low = x.detach().clone().to(dtype).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16):
                run(head, low).square().sum().backward()
                y = run(quiet, low)
            assert y.dtype == torch.float32, f"lower precision: {y.dtype}"
            assert low.grad is not None
            assert low.grad.isfinite().all(), "lower precision: gradients are finite"
            error, scale = (y - exact).abs().max(), exact.abs().max()
            assert error <= 0.1 * scale + 0.02, f"lower precision: error {error:.3f}, outputs up to {scale:.3f}"
    small = deepcopy(quiet).bfloat16()
    assert runs[0](small, x.bfloat16()).dtype == torch.float32, "lower precision: of weights in bfloat16"


ALL: tuple[Callable[[Head, int], None], ...] = (shape, derivatives, lower_precision)
TOKEN: tuple[Callable[[Head, int], None], ...] = (loss, weighted, log_p, chunks, nothing)
ROW: tuple[Callable[[Head, int], None], ...] = (padding, batch, packing)


def laws_of(head: Head) -> tuple[Callable[[Head, int], None], ...]:
    """Returns the laws that hold for a head."""
    return (*ALL, *(TOKEN if isinstance(head, TokenHead) else ()), *(ROW if isinstance(head, PooledHead) else ()))
