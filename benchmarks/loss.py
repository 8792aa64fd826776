"""The loss of a large vocabulary, forward and backward, against F.cross_entropy over full logits.

    python benchmarks/loss.py [--precision fp32 bf16] [--rounds 5]

By number of rows S, vocabulary V and width M: milliseconds of one thread's CPU time, the least over rounds taken in
turn, how many times as fast ours is, and the share of the machine's matrix-product rate that it reaches.
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from common import clock, in_turn, machine, matmul_rate
from torch import Tensor

from transduce.model.ops.loss import cross_entropy

SHAPES = [
    (16, 65, 64), (8192, 65, 384), (8192, 256, 1024), (1024, 2_000, 256), (256, 8_000, 64), (4096, 8_000, 256),
    (16, 32_000, 512), (512, 32_000, 512), (16, 50_257, 384), (256, 50_257, 64), (1024, 50_257, 384),
    (128, 128_000, 64), (256, 128_000, 1024),
]  # fmt: skip


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight), targets, reduction="sum")


def chunked(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(hidden, weight, targets)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(machine())
    print(f"{'S':>5} {'V':>7} {'M':>5} {'precision':<9} {'ours ms':>9} {'plain ms':>9} {'ratio':>6} {'of rate':>8}")
    for precision in args.precision:
        low = precision == "bf16"
        dtype = torch.bfloat16 if low else torch.float32
        for rows, vocab, width in SHAPES:
            hidden = torch.randn(rows, width, requires_grad=True)
            weight = (width**-0.5 * torch.randn(vocab, width)).requires_grad_()
            targets = torch.randint(0, vocab, (rows,))

            def run(
                loss: Callable[..., Tensor], h: Tensor = hidden, w: Tensor = weight, y: Tensor = targets,
                low: bool = low,
            ) -> None:  # fmt: skip
                with torch.autocast("cpu", torch.bfloat16, enabled=low):
                    total = loss(h, w, y)
                torch.autograd.grad(total, (h, w))

            both = {f.__name__: (lambda r, f=f, run=run: run(f)) for f in (chunked, plain)}
            rate = matmul_rate(dtype, seconds=0.3, now=clock(1))
            least = {n: min(t) for n, t in in_turn(both, args.rounds, warmup=1, now=clock(1)).items()}
            share = 6.0 * rows * vocab * width / least["chunked"] / rate
            print(f"{rows:>5} {vocab:>7} {width:>5} {precision:<9} {1e3 * least['chunked']:>9.2f} "
                  f"{1e3 * least['plain']:>9.2f} {least['plain'] / least['chunked']:>5.2f}x {share:>7.0%}",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
