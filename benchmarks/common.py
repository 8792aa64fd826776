"""Side by side in one run: contestants take turns on the same input, and the ratios of their times are what counts."""

import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch


def clock(threads: int) -> Callable[[], float]:
    """Returns what reads seconds: of the processor, which others cannot disturb much, where one thread works."""
    return time.process_time if threads == 1 else time.perf_counter


def in_turn(
    contestants: dict[str, Callable[[int], object]], rounds: int, warmup: int = 2,
    now: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:  # fmt: skip
    """Seconds of each contestant in each round. Round r calls f(r) of all, one after the other, in rotating order."""
    for r in range(warmup):
        for f in contestants.values():
            f(r)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for r in range(rounds):
        for name in names[r % len(names) :] + names[: r % len(names)]:
            start = now()
            contestants[name](r)
            times[name].append(now() - start)
    return times


def ratio(times: dict[str, list[float]], ours: str, theirs: str) -> float:
    """How many times as fast as theirs ours is: the median over rounds of the ratio within a round."""
    return statistics.median(b / a for a, b in zip(times[ours], times[theirs], strict=True))


def matmul_rate(
    dtype: torch.dtype, size: int = 1024, seconds: float = 1.0, now: Callable[[], float] = time.perf_counter
) -> float:
    """FLOP/s of a square matrix product on this machine, now."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    a @ b
    done, start = 0, now()
    while now() - start < seconds:
        a @ b
        done += 1
    return done * 2 * size**3 / (now() - start)


def peak_memory(script: str, arguments: list[str]) -> float:
    """Peak resident MiB of this script run alone with the given arguments, in a process of its own."""
    return last_line(script, arguments)[-1]


def last_line(script: str, arguments: list[str]) -> list[float]:
    """Returns the numbers in the last line that this script prints in a process of its own."""
    command = [sys.executable, script, *arguments]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(word) for word in out.splitlines()[-1].split()]


def own_peak() -> float:
    """Peak resident MiB of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the process that started this one
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> str:
    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        found = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = found[0] if found else model
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"
