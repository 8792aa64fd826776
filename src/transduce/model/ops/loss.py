"""Cross entropy over a large vocabulary without ever holding the full logits."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.model.ops.precision import autocast_dtype

CHUNK_ELEMENTS = 1 << 21  # logits held at once: 8 MiB in float32, which stay in the cache
CHUNK_ROWS = 256  # at least so many rows, since each chunk rewrites the gradient of the table ...
MOST = 8  # ... but at most so many times CHUNK_ELEMENTS
STRETCH = 1 << 12  # rows of the table whose gradient is added while it is in the cache
FEW = 1 << 10  # up to this vocabulary, logits that fit one chunk are computed at once, with autograd
TALL = 1 << 15  # from this vocabulary on, float32 products on a CPU are faster with the rows of a chunk side by side


def rows_at_once(vocab: int) -> int:
    """Returns how many rows of logits are computed at once."""
    return max(1, CHUNK_ELEMENTS // vocab, min(CHUNK_ROWS, MOST * CHUNK_ELEMENTS // vocab))


def cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Returns the sum of the label-smoothed loss and the sum of -log p(target), both float32 (or float64) scalars.

    hidden: (S, M).
    weight: (V, M). Logits are hidden weight^T + bias, computed a chunk of rows at a time.
    targets: (S,) in 0..V-1.
    smoothing: s. The loss of a row is (1 - s) (-log p_y) + s mean_v (-log p_v), as in Szegedy et al. 2016, sec. 7, and
        in `F.cross_entropy(label_smoothing=s)`.
    weights: (S,), both terms of each row are multiplied by them (None: 1). They get no gradient.
    bias: (V,) or None.

    Only the first sum carries a gradient. It is computed in the forward pass, chunk by chunk, so that the backward pass
    needs no logits and only scales it.
    """
    rows, vocab = hidden.shape[0], weight.shape[0]
    if torch.compiler.is_compiling() or (vocab <= FEW and rows * vocab <= CHUNK_ELEMENTS):
        return at_once(F.linear(hidden, weight, bias), targets, smoothing, weights)
    dtype, train = autocast_dtype(hidden), torch.is_grad_enabled()
    with torch.autocast(hidden.device.type, enabled=False):
        return cast(
            tuple[Tensor, Tensor],
            _CrossEntropy.apply(  # pyright: ignore[reportUnknownMemberType]
                hidden, weight, bias, targets, weights, smoothing, dtype, train
            ),
        )


def at_once(logits: Tensor, targets: Tensor, smoothing: float, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Returns the two sums of `cross_entropy` for logits (S, V) that all exist."""
    logp = logits.log_softmax(1, dtype=torch.promote_types(logits.dtype, torch.float32))
    nll = F.nll_loss(logp, targets, reduction="none")
    loss = (1 - smoothing) * nll - smoothing * logp.mean(1) if smoothing else nll
    by = None if weights is None else weights.detach().to(nll.dtype)
    return weighed(loss, by).sum(), weighed(nll.detach(), by).sum()


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, weights: Tensor | None,
        s: float, dtype: torch.dtype, train: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """With E = exp(logits - max) and z its row sums, the gradient of the logits is

            E / z - (1 - s) one_hot - s / V.

        The division by z and the constant s / V act on rows of H and W instead of on the (S, V) matrix, which is
        therefore passed over only four times: maximum, difference, exponential, sum. All chunks use the same memory,
        and add to one gradient of the table.
        """
        rows, vocab = hidden.shape[0], weight.shape[0]
        accurate = torch.promote_types(dtype, torch.float32)
        h, w = hidden.to(dtype), weight.to(dtype)
        b = None if bias is None else bias.to(dtype)
        total, nll = (torch.zeros((), dtype=accurate, device=hidden.device) for _ in range(2))
        grad_h = torch.empty_like(h, dtype=accurate) if train and ctx.needs_input_grad[0] else None
        grad_w = torch.zeros_like(weight, dtype=accurate) if train and ctx.needs_input_grad[1] else None
        grad_b = torch.zeros_like(b, dtype=accurate) if b is not None and train and ctx.needs_input_grad[2] else None
        learns = any(gradient is not None for gradient in (grad_h, grad_w, grad_b))
        mean = weight.to(accurate).mean(0) if s else None  # hidden . mean = the mean logit, but for the bias
        size = min(rows, rows_at_once(vocab))
        room = Room(size, vocab, dtype, hidden.device)
        wide = room if dtype == accurate else Room(size, vocab, accurate, hidden.device)
        for start in range(0, rows, size or 1):
            part, y = h[start : start + size], targets[start : start + size, None]
            logits = room.of(len(part))
            torch.mm(part, w.T, out=logits) if b is None else torch.addmm(b, part, w.T, out=logits)
            top = logits.amax(1, keepdim=True).to(accurate)
            chosen = logits.gather(1, y).to(accurate) - top
            e = torch.sub(logits, top, out=wide.of(len(part))).exp_()
            z = e.sum(1, keepdim=True)
            by = None if weights is None else weights[start : start + size, None].to(accurate)
            losses = weighed(z.log() - chosen, by)
            nll += losses.sum()
            total += (1 - s) * losses.sum()
            if mean is not None:
                middle = part.to(accurate) @ mean[:, None] + (0.0 if bias is None else bias.to(accurate).mean())
                total += s * weighed(z.log() + top - middle, by).sum()
            if not learns:
                continue
            e.scatter_add_(1, y, (s - 1.0) * z)
            low = e if dtype == accurate else logits.copy_(e)
            if grad_h is not None:
                grad_h[start : start + size] = weighed((low @ w) / z if mean is None else (low @ w) / z - s * mean, by)
            if grad_w is not None:
                add_product(grad_w, low.T, weighed(part / z, by).to(dtype))
            if grad_b is not None:
                grad_b.addmv_(e.T, weighed(1.0 / z, by)[:, 0])
        if s and (grad_w is not None or grad_b is not None):
            by = torch.ones_like(targets, dtype=accurate) if weights is None else weights.to(accurate)
            if grad_w is not None:
                grad_w -= s / vocab * (by @ h.to(accurate))
            if grad_b is not None:
                grad_b -= s / vocab * by.sum()
        ctx.save_for_backward(grad_h, grad_w, grad_b)
        ctx.hidden_dtype = hidden.dtype
        ctx.mark_non_differentiable(nll)
        return total, nll

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        given, (grad_h, grad_w, grad_b) = gradients[0], ctx.saved_tensors
        one = given.device.type == "cpu" and bool(given == 1.0)  # then no second table is needed
        h, w, b = (g if g is None or one else g * given for g in (grad_h, grad_w, grad_b))
        return None if h is None else h.to(ctx.hidden_dtype), w, b, None, None, None, None, None


class Room:
    """Memory for the logits of a chunk, which all chunks use one after the other."""

    def __init__(self, rows: int, vocab: int, dtype: torch.dtype, device: torch.device) -> None:
        self.vocab, self.tall = vocab, device.type == "cpu" and vocab >= TALL
        # The products of MKL are slower where rows start anywhere in a line of the cache; those of oneDNN would copy.
        self.step = vocab if dtype.itemsize < 4 or vocab <= FEW else -(-vocab // 16) * 16
        self.memory = torch.empty(rows * self.step, dtype=dtype, device=device)

    def of(self, rows: int) -> Tensor:
        """Returns (rows, V) of this memory, with any numbers in it. Where it is tall, it lies transposed."""
        if self.tall:
            return self.memory[: rows * self.vocab].view(self.vocab, rows).T
        return self.memory.view(-1, self.step)[:rows, : self.vocab]


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Adds a (V, S) b (S, M) to total (V, M), `STRETCH` rows at a time where total is more precise than the product."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
        return
    for start in range(0, len(total), STRETCH):
        total[start : start + STRETCH] += a[start : start + STRETCH] @ b


def weighed(x: Tensor, weights: Tensor | None) -> Tensor:
    """Returns x times the weights, which have as many dimensions (None: x)."""
    return x if weights is None else x * weights
