"""Cross entropy over a large vocabulary without ever holding the full logits."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.model.ops.precision import autocast_dtype

CHUNK_ELEMENTS = 1 << 21  # logits held at once: 8 MiB in float32, which stay in the cache


def cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum of the label-smoothed loss and sum of -log p(target), both float32 (or float64) scalars.

    hidden: (S, M), weight: (V, M), targets: (S,) in 0..V-1. Logits are hidden weight^T, made a chunk of rows at a time.
    The smoothed loss of a row is (1 - s) (-log p_y) + s mean_v (-log p_v)   (Szegedy et al. 2016, sec. 7; what
    `F.cross_entropy(label_smoothing=s)` computes). Only the first sum carries a gradient. The gradient is made in the
    forward pass, chunk by chunk, so the backward pass needs no logits and only scales. weights: (S,), by which both
    terms of each row are multiplied; None: 1. They get no gradient.
    """
    if torch.compiler.is_compiling():
        logits = F.linear(hidden, weight)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if weights is None:
            nll = F.cross_entropy(logits, targets, reduction="sum")
            total = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
        else:
            w = weights.detach().to(logits.dtype)
            nll = w @ F.cross_entropy(logits, targets, reduction="none")
            total = w @ F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
        return total, nll.detach()
    dtype = autocast_dtype(hidden)
    return cast(
        tuple[Tensor, Tensor],
        _CrossEntropy.apply(  # pyright: ignore[reportUnknownMemberType]
            hidden, weight, targets, weights, smoothing, dtype, torch.is_grad_enabled()
        ),
    )


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor | None, s: float,
        dtype: torch.dtype, train: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """With E = exp(logits - max) and z its row sums, the gradient of the logits is

            E / z - (1 - s) one_hot - s / V.

        The division by z and the constant s / V act on rows of H and W instead of on the (S, V) matrix, which is
        therefore passed over only four times: maximum, difference, exponential, sum.
        """
        rows, vocab = hidden.shape[0], weight.shape[0]
        accurate = torch.promote_types(dtype, torch.float32)
        h, w = hidden.to(dtype), weight.to(dtype)
        mean = weight.to(accurate).mean(0)  # hidden . mean = the mean logit
        total, nll = (torch.zeros((), dtype=accurate, device=hidden.device) for _ in range(2))
        grad_h = torch.empty_like(h, dtype=accurate) if train and ctx.needs_input_grad[0] else None
        grad_w = torch.zeros_like(weight, dtype=accurate) if train and ctx.needs_input_grad[1] else None
        size = max(1, CHUNK_ELEMENTS // vocab)
        for start in range(0, rows, size):
            part, y = h[start : start + size], targets[start : start + size, None]
            logits = part @ w.T
            top = logits.amax(1, keepdim=True).to(accurate)
            chosen = logits.gather(1, y).to(accurate) - top
            e = (logits - top).exp_()
            z = e.sum(1, keepdim=True)
            by = None if weights is None else weights[start : start + size, None].to(accurate)
            losses = weighed(z.log() - chosen, by)
            nll += losses.sum()
            total += (1 - s) * losses.sum()
            if s:
                total += s * weighed(z.log() + top - part.to(accurate) @ mean[:, None], by).sum()
            if grad_h is None and grad_w is None:
                continue
            low = e.scatter_add_(1, y, (s - 1.0) * z).to(dtype)
            if grad_h is not None:
                grad_h[start : start + size] = weighed((low @ w) / z - s * mean, by)
            if grad_w is not None:
                scaled = weighed(part / z, by)
                grad_w += low.T @ scaled.to(dtype)
                if s:
                    grad_w -= s / vocab * weighed(part.to(accurate), by).sum(0)
        ctx.save_for_backward(grad_h, grad_w)
        ctx.hidden_dtype = hidden.dtype
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        grad_h, grad_w = ctx.saved_tensors
        h = None if grad_h is None else (grad_h * gradients[0]).to(ctx.hidden_dtype)
        w = None if grad_w is None else grad_w * gradients[0]
        return h, w, None, None, None, None, None


def weighed(x: Tensor, weights: Tensor | None) -> Tensor:
    """Returns x (S, ...) times the weights (S, 1)."""
    return x if weights is None else x * weights
