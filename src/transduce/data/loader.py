"""Batches in an order that is a pure function of (seed, epoch, index, rank), built ahead by threads."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from transduce.data.examples import Examples
from transduce.data.order import even
from transduce.errors import UserError
from transduce.model.batch import Batch


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """The way from examples to batches.

    batch_tokens: slots of a batch, padding included: rows * (longest source + longest target), or rows * row length for
        language modelling. A single longer row is a batch of its own.
    max_length: slots of a row on either side, <s> or </s> included.
    overlong: a longer example is cut off (truncate), or left out (drop). Packed documents are split instead.
    packing: several examples per row, kept apart by the layout.
    carry: of one stream of text: each batch goes on where the last one ended, with what the model then remembered, but
        no gradient reaches back.
    workers: threads that build batches ahead; 0 builds each when it is asked for. The order is the same.
    """

    batch_tokens: int = 4096
    max_length: int = 256
    overlong: Literal["truncate", "drop"] = "truncate"
    packing: bool = False
    carry: bool = False
    workers: int = 0

    def __post_init__(self) -> None:
        if self.max_length < 2:
            raise ValueError(f"max_length={self.max_length} leaves no room for text; use at least 2")
        if self.batch_tokens < self.max_length:
            raise ValueError(
                f"batch_tokens={self.batch_tokens} is less than max_length={self.max_length}, one row; raise "
                f"batch_tokens or lower max_length"
            )
        if not 0 <= self.workers <= 256:
            raise ValueError(f"workers={self.workers} must be from 0 to 256; one for each CPU is enough")


class Cursor(NamedTuple):
    """A place in the data: the batch that comes next."""

    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a place


START = Cursor(0, 0)


def require_no_carry(config: BatchConfig) -> None:
    """Raises UserError where a recipe carries a state from batch to batch, for examples that begin anew."""
    if config.carry:
        raise UserError(
            "batch.carry=true reads one stream of text from its beginning to its end, but the data has examples of "
            "their own; leave it out, or set data.unit=file"
        )


class Loader:
    """The batches of one rank out of `ranks`.

    All ranks have equally many batches in an epoch, and no example is in two. Raises UserError where there is nothing
    to load.
    """

    stopped: str = ""  # why a stream has ended before its time

    def __init__(
        self,
        examples: Examples,
        config: BatchConfig,
        *,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        assert 0 <= rank < ranks, f"rank {rank} of {ranks}"
        if not len(examples):
            raise UserError("there is no text to make batches of: every file is blank; check data.path")
        self.config, self.seed, self.rank, self.ranks = config, seed, rank, ranks
        self.examples, self.rows = examples, examples.rows(config, drop=config.overlong == "drop")
        self._plans: dict[int, list[Any]] = {}
        self._lock = threading.Lock()

    def size(self, epoch: int) -> int:
        """Returns the batches of this rank in an epoch."""
        return len(self._plan(epoch)) // self.ranks

    def batch(self, epoch: int, index: int) -> Batch:
        """Returns the batch at a place; always the same one."""
        return self.rows.build(self._plan(epoch)[index * self.ranks + self.rank])

    def groups(self, epoch: int) -> list[Any]:
        """Returns the batches of all ranks in an epoch, before they are built."""
        return self.rows.plan(np.random.default_rng((self.seed, epoch)))

    def stream(self, cursor: Cursor = START, skip: frozenset[Cursor] = frozenset()) -> Iterator[tuple[Cursor, Batch]]:
        """Yields batches from `cursor` on, epoch after epoch, each with its place; those in `skip` left
        out.
        """
        if self.config.workers == 0:
            for place in self._places(cursor, skip):
                yield place, self.batch(*place)
            return
        places = self._places(cursor, skip)
        ahead: deque[tuple[Cursor, Future[Batch]]] = deque()
        pool = ThreadPoolExecutor(self.config.workers, thread_name_prefix="transduce-data")
        try:
            while True:
                while len(ahead) < 2 * self.config.workers and (next_ := next(places, None)) is not None:
                    ahead.append((next_, pool.submit(self.batch, *next_)))
                if not ahead:
                    return
                place, batch = ahead.popleft()
                yield place, batch.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def state(self, cursor: Cursor) -> dict[str, Tensor]:
        """Returns what a checkpoint keeps beside the place of the next batch; nothing where that says it all."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Puts back what `state` gave."""

    def once(self) -> Iterator[Batch]:
        """Yields every example once, in a fixed order, the short first; drops nothing, and ranks share all."""
        rows = self.examples.rows(self.config, drop=False) if self.config.overlong == "drop" else self.rows
        for group in rows.fixed():
            yield rows.build(group)

    def parts(self) -> dict[str, slice]:
        """Returns which batches of `once` are of which source of a mixture."""
        return {}

    def shares(self, cursor: Cursor) -> dict[str, float]:
        """Returns the share of each source of a mixture in what comes before a place, as metrics."""
        return {}

    def remarks(self) -> list[str]:
        """Returns what is to be said of the batches before a training."""
        return []

    def summary(self, cursor: Cursor) -> list[str]:
        """Returns what is to be said after a training that ended before a place."""
        return []

    def _places(self, cursor: Cursor, skip: frozenset[Cursor]) -> Iterator[Cursor]:
        epoch, index = cursor
        while True:
            size = self.size(epoch)
            if all(Cursor(epoch, i) in skip for i in range(size)):
                raise UserError("every batch of an epoch is to be skipped; nothing is left to train on")
            yield from (place for i in range(index, size) if (place := Cursor(epoch, i)) not in skip)
            epoch, index = epoch + 1, 0

    def _plan(self, epoch: int) -> list[Any]:
        with self._lock:
            if epoch not in self._plans:
                plan = even(self.groups(epoch), self.ranks)
                if len(plan) < self.ranks:
                    raise UserError(
                        f"the training data gives {len(plan)} rows for {self.ranks} processes; give more text, or "
                        f"raise batch.max_length where batch.overlong=drop leaves too little"
                    )
                self._plans = {e: p for e, p in self._plans.items() if abs(e - epoch) <= 1} | {epoch: plan}
            return self._plans[epoch]
