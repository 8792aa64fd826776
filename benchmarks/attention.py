"""Attention written out against the fused kernel, forward and backward, and which of them `attend` takes.

    python benchmarks/attention.py [--precision fp32 bf16] [--rounds 3]

By rows B, heads H, tokens T and features D, with and without dropout, causal or not: milliseconds of one thread's CPU
time, the least over rounds taken in turn, how many times as long the one that is not taken would need.
"""

import argparse

import torch
from common import clock, in_turn, machine
from torch import Tensor

from transduce.model.ops import attention

SHAPES = [
    (32, 4, 32, 64), (64, 8, 48, 32), (64, 4, 64, 64), (32, 4, 128, 64), (4, 12, 256, 32), (16, 4, 256, 64),
    (8, 4, 512, 64), (1, 4, 1024, 64), (4, 4, 1024, 64), (2, 4, 2048, 64), (1, 4, 4096, 64),
]  # fmt: skip


def run(inputs: list[Tensor], causal: bool, p: float, written_out: bool) -> None:
    rule = attention.direct
    attention.direct = lambda *_: written_out
    try:
        attention.attend(*inputs, causal=causal, p=p).sum().backward()
    finally:
        attention.direct = rule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(machine())
    print(f"{'B H T D':<16} {'precision':<9} {'dropout':>7} {'causal':<6} {'written ms':>10} {'fused ms':>9} "
          f"{'taken':<7} {'other':>6}")  # fmt: skip
    cases = [(a, b, c, d) for a in args.precision for b in (0.0, 0.1) for c in (True, False) for d in SHAPES]
    for precision, p, causal, (rows, heads, tokens, size) in cases:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        inputs = [torch.randn(rows, tokens, heads, size, dtype=dtype, requires_grad=True) for _ in range(3)]
        ways = {written: (lambda _, i=inputs, c=causal, p=p, w=written: run(i, c, p, w)) for written in (True, False)}
        named = {"written": ways[True], "fused": ways[False]}
        least = {n: 1e3 * min(t) for n, t in in_turn(named, args.rounds, warmup=1, now=clock(1)).items()}
        q, k = (x.transpose(1, 2) for x in inputs[:2])
        taken, other = ("written", "fused") if attention.direct(q, k, p, None) else ("fused", "written")
        shape = f"{rows} {heads} {tokens} {size}"
        print(f"{shape:<16} {precision:<9} {p:>7} {causal!s:<6} {least['written']:>10.1f} {least['fused']:>9.1f} "
              f"{taken:<7} {least[other] / least[taken]:>5.2f}x", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
