"""The kernels of flash-linear-attention for the matrix rules, on a GPU, for those who ask for them.

Yang & Zhang 2024, github.com/fla-org/flash-linear-attention. They multiply float32 in TF32, about as exactly as
bfloat16, so they are not taken unasked. Shapes as in `ops.linear`; theirs have time before heads.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from transduce.errors import UserError

Kernel = Callable[..., tuple[Tensor, Tensor]]
KERNELS = {
    "sum": ("fla.ops.simple_gla", "chunk_simple_gla"),
    "delta": ("fla.ops.gated_delta_rule", "chunk_gated_delta_rule"),
}
_in_use = {"fla": False}  # a dict, and for the process: compiled code looks it up, a backward pass has its own thread
_open = list[tuple[int, bool]]()  # who chose, by thread, and what, the last one last
_lock = threading.Lock()


@contextmanager
def kernels(fla: bool, device: torch.device) -> Generator[None]:
    """Runs the rules inside by these kernels or, with fla=False, by those of PyTorch; afterwards, as before.

    Raises UserError where they cannot run, or while another thread computes with other kernels.
    """
    if fla and device.type != "cuda":
        raise UserError(f"kernels=fla run on a GPU, but this is training on {device.type}; use kernels=torch")
    if fla and find_spec("fla") is None:
        raise UserError("kernels=fla are those of flash-linear-attention; run `pip install 'transduce[fast]'`")
    choice = threading.get_ident(), fla
    with _lock:
        if any(thread != choice[0] and other != fla for thread, other in _open):
            raise UserError(
                f"kernels={_name(fla)} cannot run beside a training with kernels={_name(not fla)} in the same process; "
                "wait for that one, or start another process"
            )
        _open.append(choice)
        _in_use["fla"] = fla
    try:
        yield
    finally:
        with _lock:
            _open.remove(choice)
            _in_use["fla"] = bool(_open) and _open[-1][1]


def _name(fla: bool) -> str:
    return "fla" if fla else "torch"


def applies(q: Tensor) -> bool:
    """Says whether they are chosen and can do this: (B, H, T, D) on a GPU, several tokens, no float64."""
    return _in_use["fla"] and q.is_cuda and q.shape[2] > 1 and q.dtype != torch.float64


def kernel(name: str) -> Kernel:
    module, function = KERNELS[name]
    return getattr(import_module(module), function)


def sum_rule(
    q: Tensor, k: Tensor, v: Tensor, S: Tensor, log_decay: Tensor | None, starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`linear.sum_rule` in one kernel."""
    return by_document(kernel("sum"), {"q": q, "k": k, "v": v, "g": log_decay}, S, starts)


def delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, S: Tensor, log_decay: Tensor | None, starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`delta.delta_rule` in one kernel, with a decay of 1 if there is none: the one without it takes no float32."""
    decay = torch.zeros_like(beta) if log_decay is None else log_decay
    return by_document(kernel("delta"), {"q": q, "k": k, "v": v, "beta": beta, "g": decay}, S, starts)


def by_document(
    run: Kernel, tensors: dict[str, Tensor | None], S: Tensor, starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Calls a kernel that takes rows of equal length, or one row of documents that each have a state of their own."""
    (rows, tokens), heads = (S.shape[0], _of(tensors, "v").shape[2]), S.shape[1]
    by_token = {
        name: x.expand(rows, heads, *x.shape[2:]).transpose(1, 2) for name, x in tensors.items() if x is not None
    }
    options: dict[str, Any] = {"scale": 1.0, "output_final_state": True}
    if starts is None:
        y, after = run(
            **{name: x.contiguous() for name, x in by_token.items()}, initial_state=S.contiguous(), **options
        )
        return y.transpose(1, 2).to(S.dtype), after
    first = torch.arange(tokens, device=starts.device) == 0
    borders = (starts | first).flatten().nonzero()[:, 0]
    row, anew = borders // tokens, starts.flatten()[borders]
    ends = torch.cat([borders, borders.new_tensor([rows * tokens])])
    y, after = run(
        **{name: x.flatten(0, 1)[None].contiguous() for name, x in by_token.items()},
        initial_state=S[row].masked_fill(anew[:, None, None, None], 0.0), cu_seqlens=ends, **options,
    )  # fmt: skip
    last = torch.searchsorted(row, torch.arange(rows, device=row.device), right=True) - 1
    return y[0].reshape(rows, tokens, *y.shape[2:]).transpose(1, 2).to(S.dtype), after[last]


def _of(tensors: dict[str, Tensor | None], name: str) -> Tensor:
    tensor = tensors[name]
    assert tensor is not None
    return tensor
