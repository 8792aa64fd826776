"""The costs of a training, measured on a real batch before it begins."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from transduce.data.loader import Loader
from transduce.inspect.counts import StateBytes, flops, parameters, saved_bytes, state_bytes
from transduce.inspect.live import peak_bytes
from transduce.model.batch import Batch
from transduce.model.heads.head import TokenHead
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.model.state import over, tensors
from transduce.objectives.objective import Objective

WARM_UP = 2  # updates that are not timed


@dataclass(frozen=True)
class Work:
    """The work done over and over: an update of `model` on `accumulate` batches, each batch inside `precision`."""

    model: Model
    objective: Objective
    optimizers: list[Optimizer]
    precision: AbstractContextManager[object]
    accumulate: int = 1

    def backward(self, batch: Batch) -> None:
        """Adds the gradient of one batch."""
        self.loss(batch).backward()

    def loss(self, batch: Batch) -> Tensor:
        with self.precision:
            return self.objective(self.model, batch).total

    def update(self, batches: Iterator[Batch]) -> int:
        """Does one whole update, but for clipping and the schedule, which cost nothing. Returns its tokens."""
        tokens = 0
        for _ in range(self.accumulate):
            batch = next(batches).to(self.model.device)
            self.backward(batch)
            tokens += batch.tokens
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad()
        return tokens


@dataclass(frozen=True)
class Costs:
    """Counted, not timed.

    forward_flops, training_flops: of one row of `tokens` tokens, source and target, without padding, so that they
        depend on no order.
    gradients, optimizer: bytes of what moves.
    activations: bytes that the widest batch keeps for its backward pass.
    update: the most bytes that an update on the widest batch takes, gradients and activations among them.
    resident: bytes of the process with its libraries, data and model, before the first update (a GPU: of the model).
    """

    parameters: dict[str, int]
    tokens: int
    forward_flops: int
    training_flops: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    update: int
    resident: int
    state: StateBytes


@dataclass(frozen=True)
class Probe:
    """Timed. tokens_per_second: source and target, padding not counted. peak: most bytes the process (a GPU: PyTorch)
    ever held."""

    updates: int
    tokens_per_second: float
    seconds_per_update: float
    peak: int


def costs(work: Work, batch: Batch, shape: tuple[int, int]) -> Costs:
    """Counts what a row of so many source and target tokens takes, and what an update with a batch takes at most."""
    model = work.model
    device = model.device
    resident = _resident(device)
    last = model.head.size - 1 if isinstance(model.head, TokenHead) else None
    row, batch, losses = row_of(batch, *shape, last).to(device), batch.to(device), list[Tensor]()
    with torch.compiler.set_stance("force_eager"):
        model.train()
        with torch.no_grad():
            forward = flops(lambda: work.loss(row))
        training = flops(lambda: work.backward(row))
        model.zero_grad()
        activations = saved_bytes(model, lambda: losses.append(work.loss(batch)))
        losses.pop().backward()
        gradients = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
        for optimizer in work.optimizers:
            optimizer.step()
        model.zero_grad()
        states = [x for o in work.optimizers for s in o.state.values() for x in s.values() if isinstance(x, Tensor)]
        once = replace(work, accumulate=min(work.accumulate, 2))  # gradients stay while the next batch is computed
        known = [*model.parameters(), *model.buffers(), *states, *tensors(tuple(batch[:7]))]
        update = peak_bytes(lambda: once.update(iter([batch] * once.accumulate)), known, device)
    return Costs(
        parameters(model), row.tokens, forward, training, sum(p.nbytes for p in model.parameters()), gradients,
        sum(x.nbytes for x in states), activations, update, resident, state_bytes(model.eval()),
    )  # fmt: skip


def widest(loader: Loader, looked_at: int = 256) -> Batch:
    """Returns the batch of the first epoch with the most slots, of as many as are looked at, evenly spread."""
    size = loader.size(0)
    numbers = {i * size // looked_at for i in range(looked_at)} if size > looked_at else set(range(size))
    return max((loader.batch(0, i) for i in sorted(numbers)), key=lambda batch: batch.slots)


def row_of(batch: Batch, source: int, target: int, last: int | None) -> Batch:
    """Returns one row of so many slots without padding; source 0: without a source.

    last: the token that stands everywhere, which is no special one; None: what stands in a row of `batch`, repeated.
    """
    if isinstance(batch.inputs, tuple):  # of several tensors, such as steps of episodes: the longest row as it is
        longest = batch.layout.valid.sum(1).argmax()[None]
        some = over(batch.inputs, lambda x: x.index_select(0, longest))
        return Batch(some, batch.layout.rows(longest), batch.targets.index_select(0, longest))
    if last is None and batch.layout.positions.shape[1] != batch.inputs.shape[1]:  # a row is one thing: a picture
        return Batch(batch.inputs[:1], dense(1, batch.layout.positions.shape[1]), batch.targets[:1])
    if last is None:
        slots = torch.arange(target) % batch.inputs.shape[1]
        return Batch(batch.inputs[:1, slots], dense(1, target), batch.targets[:1])
    source_ids, written = (torch.full((1, n), last) for n in (source, target))
    sides = (source_ids, dense(1, source)) if source else (None, None)
    return Batch(written, dense(1, target), written, *sides)


def probe(work: Work, batches: Iterator[Batch], seconds: float = 5.0) -> Probe:
    """Times updates for about so many seconds, three at least."""
    device = work.model.device
    work.model.train()
    for _ in range(WARM_UP):
        work.update(batches)
    _wait(device)
    updates, tokens, start = 0, 0, time.perf_counter()
    while updates < 3 or time.perf_counter() - start < seconds:
        tokens += work.update(batches)
        updates += 1
        _wait(device)
    spent = time.perf_counter() - start
    return Probe(updates, tokens / spent, spent / updates, _peak(device))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _resident(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:  # Linux: pages
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _peak(device)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not on every system

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
