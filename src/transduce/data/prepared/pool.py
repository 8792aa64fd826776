"""Processes that encode, with a thread for each: results come in the order of the requests, whoever was first."""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from transduce.data.examples import Index
from transduce.errors import UserError

T = TypeVar("T")
Texts = Sequence[tuple[Sequence[str], bool]]  # of each column: its texts, and whether a decoder writes them


class Coded(NamedTuple):
    """A column of some rows. flat: uint16 or uint32 ids of all rows. lengths: of each. unknown: ids that are <unk>."""

    flat: NDArray[np.unsignedinteger]
    lengths: Index
    unknown: int


class Pool:
    """`count` processes that encode with the tokeniser in a folder, while it is open."""

    def __init__(self, folder: Path, size: int, count: int) -> None:
        self.narrow, self.count = np.dtype(np.uint16 if size <= 1 << 16 else np.uint32), count
        path = os.pathsep.join([str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "transduce.data.prepared.worker", str(folder)]
        self.free, self.all = SimpleQueue[subprocess.Popen[bytes]](), list[subprocess.Popen[bytes]]()
        for _ in range(count):
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
            self.all.append(process)
            self.free.put(process)
        self.threads = ThreadPoolExecutor(count, thread_name_prefix="transduce-prepare")

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.threads.shutdown(wait=kind is None, cancel_futures=True)
        for process in self.all:
            if kind is not None:
                process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            process.wait()

    def map(self, requests: Iterable[tuple[T, Texts]]) -> Iterator[tuple[T, list[Coded]]]:
        """Yields what was given with each request, and its columns. Raises UserError."""
        waiting = deque[tuple[T, Future[list[Coded]]]]()
        for given, texts in requests:
            waiting.append((given, self.threads.submit(self._ask, texts)))
            if len(waiting) > 2 * self.count:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()

    def _ask(self, texts: Texts) -> list[Coded]:
        process = self.free.get()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            request = json.dumps(texts).encode()
            process.stdin.write(len(request).to_bytes(8, "little") + request)
            process.stdin.flush()
            length = process.stdout.read(8)
            if len(length) < 8:
                raise UserError("a process that encodes has ended: it was killed, or the memory is full; run it again")
            head = json.loads(process.stdout.read(int.from_bytes(length, "little")))
            if "error" in head:
                raise UserError(head["error"])
            parts = [process.stdout.read(size) for size in head["sizes"]]
        except BrokenPipeError:
            raise UserError(
                "a process that encodes has ended: it was killed, or the memory is full; run it again"
            ) from None
        finally:
            self.free.put(process)
        rows = zip(parts[::2], parts[1::2], head["unknown"], strict=True)
        return [Coded(np.frombuffer(f, self.narrow), np.frombuffer(n, np.int64), unknown) for f, n, unknown in rows]
