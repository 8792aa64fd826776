"""Models in fewer bits: what they lose, how fast they write, and what they take.

    python benchmarks/quantise.py --data DIR           # loss of three models; DIR has tinyshakespeare, multi30k
    python benchmarks/quantise.py --speed              # tokens/s and memory at the shape of GPT-2 124M

The first trains an attention decoder and a delta network on characters, and an encoder-decoder on pairs, each a few
hundred updates. It prints the loss on `valid` in nats per token in float32, and how it changes in eight bits, in four
bits rounded, and in four bits fitted to training data. The second lets models of one shape with random weights take
turns. Speeds are by seconds of the processor with one thread, which others on the machine do not lengthen; memory is
what is resident once a model is open and has written.
"""

import argparse
import copy
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import machine

import transduce as td
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.packed import give_up
from transduce.model.models import Model
from transduce.precision.convert import convert
from transduce.precision.measure import speeds

KINDS = ("fp32", "bf16", "int8", "int4")
SMALL = {
    "model.width": 128, "model.feedforward.hidden": 512, "batch.batch_tokens": 2048, "train.samples": 0,
    "train.threads": 1, "train.precision": "fp32", "train.ema": None, "train.metric": "loss",
}  # fmt: skip
MODELS = {
    "attention, characters": ("shakespeare", "tinyshakespeare", 400, {"model.layers": 4}),
    "encoder-decoder, pairs": (
        "multi30k", "multi30k", 400, {"model.layers": 2, "batch.max_length": 64, "train.average": 1},
    ),
    "delta network, characters": (
        "shakespeare", "tinyshakespeare", 200,
        {"model.layers": 2, "model.mixer": {"kind": "delta", "heads": 4}, "model.positions": "none"},
    ),
}  # fmt: skip
ONE_SET = "fp32 of generate, translate and score"  # which give up what is packed
BOUNDS = {"int8": 0.01, "int4, rounded": 0.10, "int4, fitted": 0.03}  # nats


class Ids:
    """A vocabulary of ids alone."""

    bos, eos = 1, 2

    def decode(self, ids: list[int], /) -> str:
        return ""


def loss(data: Path, out: Path, share: float) -> None:
    """Trains the models and prints what the loss on `valid` becomes."""
    print(f"{'model':<28} {'numbers':>10} {'fp32':>7}" + "".join(f" {name:>14}" for name in BOUNDS))
    held = True
    for name, (recipe, folder, most, more) in MODELS.items():
        steps = max(10, round(share * most))
        changes = {
            **SMALL, "data.path": str(data / folder), "train.max_steps": steps, "train.validate_every": steps,
            "schedule.warmup_steps": steps // 10, "name": name.split(",")[0].replace(" ", "-"), **more,
        }  # fmt: skip
        run = td.train(recipe, changes, out=out, quiet=True).path
        records = {
            "int8": td.quantise(run, "int8"), "int4, rounded": td.quantise(run, "int4", lines=0),
            "int4, fitted": td.quantise(run, "int4"),
        }  # fmt: skip
        gaps = {kind: record["difference"] for kind, record in records.items()}
        held = held and all(gap <= BOUNDS[kind] for kind, gap in gaps.items())
        first = records["int8"]
        print(f"{name:<28} {first['numbers']:>10,} {first['loss']['fp32']:>7.4f}"
              + "".join(f" {gap:>+14.4f}" for gap in gaps.values()), flush=True)  # fmt: skip
    bounds = ", ".join(f"{kind}: {most}" for kind, most in BOUNDS.items())
    print(f"{'within the bounds' if held else 'NOT within the bounds'} ({bounds} nats)")


def made(kind: str, layers: int, model: Model | None = None) -> Model:
    """GPT-2 124M in a precision, its end of sequence never written."""
    if model is None:
        model = td.build("gpt-2-124m", device="cpu", overrides={"layers": layers}).eval()
        with torch.no_grad():
            model.token_head.weight[Ids.eos] = 0.0
    if kind == ONE_SET:
        give_up(model)
    elif kind != "fp32":
        convert(model, kind)
    return model


def write(model: Model, batch: int, new: int) -> None:
    rows = decode(model, Ids(), GenerateConfig(max_new_tokens=new), prompt=[[7 + i, 8, 9, 10] for i in range(batch)])
    assert all(len(row[0].ids) == new for row in rows)


def resident() -> float:
    """MiB of this process, what was swapped out included."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmSwap"))) / 1024


def alone(kind: str, layers: int) -> float:
    """MiB of a process that has opened one model and written with it."""
    command = [sys.executable, __file__, "--alone", kind, "--layers", str(layers)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def speed(layers: int, rounds: int) -> None:
    """Prints tokens/s of each precision, in turn, and memory, alone."""
    base = made("fp32", layers)
    models = {kind: base if kind == "fp32" else made(kind, layers, copy.deepcopy(base)) for kind in KINDS}
    seconds: dict[tuple[str, int], list[float]] = {(kind, batch): [] for kind in KINDS for batch in (1, 16)}
    for kind in KINDS:
        write(models[kind], 1, 2)
    for _ in range(rounds):
        for batch, new in ((1, 12), (16, 4)):
            for kind in KINDS:
                start = time.process_time()
                write(models[kind], batch, new)
                seconds[kind, batch].append((time.process_time() - start) / (batch * new))
    rates = {key: 1 / statistics.median(times) for key, times in seconds.items()}
    products = speeds(base, [kind for kind in KINDS if kind != "fp32"])
    print(f"{'':<6} {'batch 1 tok/s':>14} {'':>6} {'batch 16 tok/s':>14} {'':>6} {'MiB':>6}  products, 1 and 32 rows")
    for kind in KINDS:
        memory = alone(kind, layers)
        ratios = [
            statistics.median(a / b for a, b in zip(seconds["fp32", batch], seconds[kind, batch], strict=True))
            for batch in (1, 16)
        ]
        bare = "" if kind == "fp32" else f"{products[kind].alone:.2f}x {products[kind].together:.2f}x"
        print(f"{kind:<6} {rates[kind, 1]:>14.1f} {ratios[0]:>5.2f}x {rates[kind, 16]:>14.1f} {ratios[1]:>5.2f}x "
              f"{memory:>6.0f}  {bare}", flush=True)  # fmt: skip
    print(f"{ONE_SET}: {alone(ONE_SET, layers):.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of the data sets; without it no loss is measured")
    parser.add_argument("--out", type=Path, help="keep the runs here (default: they are removed)")
    parser.add_argument("--share", type=float, default=1.0, help="of the updates (400, 400 and 200)")
    parser.add_argument("--speed", action="store_true", help="measure speed and memory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--alone", metavar="KIND", help="memory of one")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.alone:
        model = made(args.alone, args.layers)
        write(model, 1, 4)
        print(resident())
        write(model, 1, 1)  # so that it is still there when it is measured
        return
    print(machine())
    if args.speed:
        speed(args.layers, args.rounds)
    if args.data is not None:
        with tempfile.TemporaryDirectory() as folder:
            loss(args.data, args.out or Path(folder), args.share)


if __name__ == "__main__":
    main()
