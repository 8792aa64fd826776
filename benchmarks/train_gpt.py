"""Training speed and memory of a GPT against nanoGPT's model, by vocabulary and by length.

    python benchmarks/train_gpt.py [--precision fp32 bf16] [--rounds 5] [--threads 1] [--rows V=65 T=1024 ...]

The peer is written here as nanoGPT builds its model: queries, keys and values from one product, fused attention, exact
GELU, the table shared with the head, F.cross_entropy over full logits. Both have the same shapes, no dropout, fused
AdamW and clipping, and take turns on the same batches of random tokens. A step is a whole update, ours as our loop
makes it: gradients of a sum, divided and clipped in one pass. Printed: tokens per CPU second (per second, with more
than one thread), the median over rounds of the ratio of times, peak memory of a process that trains one of them, what
of it is beyond the libraries, and the share of the machine's matrix-product rate (same precision, same run) that our
step reaches, attention's products included.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from common import clock, in_turn, last_line, machine, matmul_rate, own_peak, ratio
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from transduce.config import from_data
from transduce.model.architecture import DecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.objectives.language import NextTokenConfig
from transduce.objectives.objective import Loss

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    vocab: int
    tokens: int
    batch: int

    @property
    def name(self) -> str:
        return f"{self.layers}x{self.width} V={self.vocab} T={self.tokens} B={self.batch}"


SHAPES = [
    Shape(6, 384, 65, 256, 16),
    Shape(6, 384, 50_257, 256, 4),
    *(Shape(4, 256, 65, tokens, 4096 // tokens) for tokens in (128, 256, 512, 1024, 2048, 4096)),
]


class NanoBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        (rows, tokens, width), h = x.shape, self.heads
        q, k, v = self.c_attn(self.ln_1(x)).split(width, dim=2)
        q, k, v = (part.view(rows, tokens, h, width // h).transpose(1, 2) for part in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(rows, tokens, width))
        return x + self.c_out(F.gelu(self.c_fc(self.ln_2(x))))


class NanoGPT(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(shape.vocab, shape.width), nn.Embedding(shape.tokens, shape.width)
        self.h = nn.ModuleList(NanoBlock(shape.width, shape.width // 64) for _ in range(shape.layers))
        self.ln_f, self.lm_head = nn.LayerNorm(shape.width), nn.Linear(shape.width, shape.vocab, bias=False)
        nn.init.normal_(self.lm_head.weight, std=0.02)
        self.wte.weight = self.lm_head.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wte(ids[:, :-1]) + self.wpe(torch.arange(ids.shape[1] - 1))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), ids[:, 1:].reshape(-1), ignore_index=-1)


def ours(shape: Shape) -> tuple[nn.Module, Callable[[Tensor], Loss]]:
    data = {
        "width": shape.width, "layers": shape.layers, "mixer": {"heads": shape.width // 64}, "scale_embedding": False,
        "feedforward": {"kind": "mlp", "hidden": 4 * shape.width, "activation": "gelu"},
        "residual": {"kind": "pre-norm", "dropout": 0.0}, "positions": {"kind": "learned", "limit": shape.tokens},
    }  # fmt: skip
    model, objective = from_data(DecoderConfig, data).build(shape.vocab), NextTokenConfig().build()

    def loss(ids: Tensor) -> Loss:
        return objective(model, Batch(ids[:, :-1], dense(ids.shape[0], ids.shape[1] - 1), ids[:, 1:]))

    return model, loss


def contestant(who: str, shape: Shape, precision: str) -> Step:
    model, loss = ours(shape) if who == "transduce" else (nano := NanoGPT(shape), nano)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    parameters = list(model.parameters())
    model.train()

    def step(ids: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            value = loss(ids)
        if isinstance(value, Loss):
            value.total.backward()
            gradients, count = [p.grad for p in parameters if p.grad is not None], float(value.count)
            norm = float(get_total_norm(gradients)) / count
            torch._foreach_mul_(gradients, min(1.0, 1.0 / (norm + 1e-6)) / count)
            value = value.total / count
        else:
            value.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return value.detach()

    return step


def flops(shape: Shape) -> float:
    """Of a training step: 6 per weight of a matrix and token, and the products of scores, half of them masked."""
    matrices = shape.layers * 12 * shape.width**2 + shape.vocab * shape.width
    scores = shape.layers * shape.tokens * shape.width
    return shape.batch * shape.tokens * 6.0 * (matrices + scores)


def draw(shape: Shape, number: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = (shape.batch, shape.tokens + 1)
    return [torch.randint(0, shape.vocab, size, generator=generator) for _ in range(number)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", nargs="+", default=[], metavar="PART", help="only shapes named with one of these")
    parser.add_argument("--alone", nargs=3, metavar=("SHAPE", "PRECISION", "WHO"), help="peak memory of one")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.alone:
        name, precision, who = args.alone
        shape = next(shape for shape in SHAPES if shape.name == name)
        before = own_peak()
        step = contestant(who, shape, precision)
        for ids in draw(shape, 3):
            step(ids)
        print(before, own_peak())
        return
    print(machine())
    print(f"{'shape':<26} {'precision':<9} {'ours tok/s':>10} {'nanoGPT':>8} {'ratio':>6} {'ours MiB':>8} "
          f"{'nanoGPT':>8} {'ratio':>6} {'beyond libraries':>16} {'of matmul rate':>14}")  # fmt: skip
    for shape in SHAPES:
        if args.rows and not any(part in shape.name.split() for part in args.rows):
            continue
        for precision in args.precision:
            ids = draw(shape, args.rounds)
            steps = {who: contestant(who, shape, precision) for who in ("transduce", "nanoGPT")}
            rate = matmul_rate(torch.bfloat16 if precision == "bf16" else torch.float32, now=clock(args.threads))
            runs = {who: (lambda r, s=step, ids=ids: s(ids[r % len(ids)])) for who, step in steps.items()}
            times = in_turn(runs, args.rounds, now=clock(args.threads))
            speed = {who: shape.batch * shape.tokens / statistics.median(t) for who, t in times.items()}
            alone = [*sys.argv[1:], "--alone", shape.name, precision]
            mib = {who: last_line(__file__, [*alone, who]) for who in steps}
            (low, high), (their_low, their_high) = mib["transduce"], mib["nanoGPT"]
            share = flops(shape) / statistics.median(times["transduce"]) / rate
            print(f"{shape.name:<26} {precision:<9} {speed['transduce']:>10.0f} {speed['nanoGPT']:>8.0f} "
                  f"{ratio(times, 'transduce', 'nanoGPT'):>5.2f}x {high:>8.0f} {their_high:>8.0f} "
                  f"{high / their_high:>6.2f} {(high - low) / (their_high - their_low):>16.2f} {share:>13.0%}",
                  flush=True)  # fmt: skip
            del steps, runs


if __name__ == "__main__":
    main()
