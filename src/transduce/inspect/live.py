"""The bytes of tensors that are alive, followed through a piece of work: their greatest sum is the memory it takes."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Follows every storage that an operation of PyTorch makes inside the context, until it is freed.

    now: bytes that are alive. peak: the most there were. Both leave out `known`, which were there before. What a kernel
    takes and gives back within one operation is not seen.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.followed = weakref.WeakSet[torch.UntypedStorage](x.untyped_storage() for x in known)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                self.follow(x.untyped_storage())
        return out

    def follow(self, storage: torch.UntypedStorage) -> None:
        if storage in self.followed:
            return
        self.followed.add(storage)
        size = storage.nbytes()
        weakref.finalize(storage, self.forget, size)
        self.now += size
        self.peak = max(self.peak, self.now)

    def forget(self, size: int) -> None:
        self.now -= size


def peak_bytes(work: Callable[[], object], known: Iterable[Tensor], device: torch.device) -> int:
    """Returns the most bytes that tensors took in `work()` beyond `known`, those that were there before."""
    if device.type != "cuda":
        with Live(known) as live:
            work()
        return live.peak
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
