"""The matrix rules in chunks against their loop, and against attention, as the sequence grows.

    python benchmarks/linear_time.py

On the CPU, in float32: a batch of one, heads and sizes as given. First T = 1,024 tokens by the loop and in chunks,
taking turns; printed is the ratio of the medians. Then 1,024 to 16,384 tokens, forward, the best of all rounds:
attention with its weights written out (to 4,096 tokens), the fused one of PyTorch, attention to the 128 tokens before
each, and the chunks, with the exponent p of time ~ T^p.
"""

import argparse
import math
import statistics
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from common import in_turn, machine
from torch import Tensor

from transduce.model.ops.delta import delta_rule, delta_rule_loop
from transduce.model.ops.linear import sum_rule, sum_rule_loop
from transduce.model.ops.local_attention import attend_near

Run = Callable[[int], object]
LENGTHS = [1024 << n for n in range(5)]
WINDOW = 128
EXPLICIT = 4096  # tokens whose weights are still written out


def inputs(tokens: int, heads: int, size: int) -> dict[str, Tensor]:
    q, k, v = (torch.randn(1, heads, tokens, size) for _ in range(3))
    return {
        "q": q, "k": F.normalize(k, dim=-1), "v": v, "beta": torch.rand(1, heads, tokens),
        "S": torch.zeros(1, heads, size, size), "log_decay": -0.1 * torch.rand(1, heads, tokens),
    }  # fmt: skip


def rules(given: dict[str, Tensor], chunk: int) -> dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]:
    """Name -> the loop and the chunks."""
    q, k, v, beta, S, log_decay = given.values()
    return {
        "sum": (lambda: sum_rule_loop(q, k, v, S)[0], lambda: sum_rule(q, k, v, S, chunk=chunk)[0]),
        "sum, decay": (
            lambda: sum_rule_loop(q, k, v, S, log_decay)[0],
            lambda: sum_rule(q, k, v, S, log_decay, chunk=chunk)[0],
        ),
        "delta": (lambda: delta_rule_loop(q, k, v, beta, S)[0], lambda: delta_rule(q, k, v, beta, S, chunk=chunk)[0]),
        "delta, decay": (
            lambda: delta_rule_loop(q, k, v, beta, S, log_decay)[0],
            lambda: delta_rule(q, k, v, beta, S, log_decay, chunk=chunk)[0],
        ),
    }


def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) v, causal, all weights held."""
    ahead = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1)
    return (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(ahead, -torch.inf).softmax(-1) @ v


def forward(f: Callable[[], Tensor], _: int) -> None:
    with torch.no_grad():
        f()


def both(f: Callable[[], Tensor], _: int) -> None:
    f().sum().backward()


def exponent(times: dict[int, float]) -> float:
    """The slope of log time over log tokens, by least squares."""
    x, y = [math.log(t) for t in times], [math.log(s) for s in times.values()]
    mx, my = statistics.mean(x), statistics.mean(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(machine())
    print(f"{args.heads} heads of {args.size}, chunks of {args.chunk}; milliseconds for {LENGTHS[0]} tokens")
    print(f"{'rule':<14} {'pass':<18} {'loop':>8} {'chunks':>8} {'ratio':>7}")
    given = {name: x.requires_grad_() for name, x in inputs(LENGTHS[0], args.heads, args.size).items()}
    for name, (loop, chunked) in rules(given, args.chunk).items():
        for what, run in (("forward", forward), ("forward + backward", both)):
            times = in_turn({"loop": partial(run, loop), "chunks": partial(run, chunked)}, args.rounds)
            slow, fast = (1000 * statistics.median(times[who]) for who in ("loop", "chunks"))
            print(f"{name:<14} {what:<18} {slow:>8.1f} {fast:>8.2f} {slow / fast:>6.1f}x", flush=True)
    contestants: dict[str, Run] = {}
    for tokens in LENGTHS:
        given = inputs(tokens, args.heads, args.size)
        q, k, v = (given[name] for name in "qkv")
        if tokens <= EXPLICIT:
            contestants[f"attention, explicit/{tokens}"] = partial(forward, partial(explicit, q, k, v))
        fused = partial(F.scaled_dot_product_attention, q, k, v, is_causal=True)
        contestants[f"attention, fused/{tokens}"] = partial(forward, fused)
        near = partial(attend_near, *(x.transpose(1, 2) for x in (q, k, v)), WINDOW, causal=True)
        contestants[f"attention, window/{tokens}"] = partial(forward, near)
        for name, (_, chunked) in rules(given, args.chunk).items():
            contestants[f"{name}/{tokens}"] = partial(forward, chunked)
    times = in_turn(contestants, args.rounds, warmup=1)
    print(
        f"milliseconds, forward, the best of {args.rounds}\n{'':<20}"
        + "".join(f"{tokens:>9}" for tokens in LENGTHS)
        + f"{'exponent':>10}"
    )
    for name in dict.fromkeys(key.split("/")[0] for key in contestants):
        row = {n: min(times[f"{name}/{n}"]) for n in LENGTHS if f"{name}/{n}" in times}
        cells = "".join(f"{1000 * row[n]:>9.2f}" if n in row else f"{'':>9}" for n in LENGTHS)
        print(f"{name:<20}{cells}{exponent(row):>10.2f}")


if __name__ == "__main__":
    main()
