"""One translation task, one budget, every architecture: from Elman's network to today's block.

    python benchmarks/architectures.py --data DIR [--steps 800] [--seeds 0 1] [--only NAME ...]

Every architecture learns German to English from the same pairs in the same order, with one vocabulary, one optimiser
and as many updates; its width (and the hidden size of its feed-forward, where it has one) is chosen so that all have
as many parameters, within 2 %. Each run is `transduce train multi30k model=NAME ...` in a process of its own, so an
interrupted comparison goes on where it was: the same command again. Results are kept in
runs/architectures/results.json, and the table and runs/architectures/architectures.png are made of them. With
OMP_NUM_THREADS=1 every run has one core; --seeds 0 and --seeds 1 can then run beside each other in two directories,
whose results.json are joined afterwards.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from common import machine, own_peak

import transduce as td
from transduce import api
from transduce.inspect.counts import state_bytes
from transduce.model.state import nbytes
from transduce.reproduce import draw

HERE = Path("runs/architectures")
PARAMETERS, CLOSE = 5_500_000, 0.02

# What each has of its published shape; width and hidden are found below. Depths are those of the task's recipe, unless
# the architecture needs another.
HEADS = {"model.mixer.heads": 4}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "elman-1990": {"model": "elman-1990", "model.layers": 2, "model.mixer.activation": "tanh",
                   "model.encoder_mixer.mixer.activation": "tanh"},
    "sutskever-2014": {"model": "sutskever-2014", "model.layers": 2},
    "cho-2014": {"model": "cho-2014"},
    "bahdanau-2014": {"model": "bahdanau-2014"},
    "luong-2015": {"model": "luong-2015", "model.layers": 2, "model.decoder_layers": [{"cross": "none"}, {}]},
    "convs2s-2017": {"model": "convs2s-2017", "model.layers": 4},
    "post-ln-2017": {"model": "transformer-base-2017", "model.layers": 3, **HEADS},
    "pre-ln-2020": {"model": "pre-ln-2020", "model.layers": 3, **HEADS},
    "residual-dual-2023": {"model": "residual-dual-2023", "model.layers": 3},
    "linear-2020": {"model": "linear-2020", "model.layers": 3, **HEADS},
    "deltanet-2021": {"model": "deltanet-2021", "model.layers": 3, **HEADS},
    "retnet-2023": {"model": "retnet-2023", "model.layers": 3},
    "mamba-2-2024": {"model": "mamba-2-2024", "model.layers": 3},
    "gated-deltanet-2024": {"model": "gated-deltanet-2024", "model.layers": 3},
    "today": {"model": "today", "model.layers": 3},
    "pooling": {"model": "pre-ln-2020", "model.layers": 3, "model.mixer.kind": "pooling",
                "model.cross.kind": "attention"},
}  # fmt: skip

COMMON = {
    "model.residual.dropout": 0.1, "model.tie_embeddings": "all", "model.init": "xavier",
    "model.scale_embedding": True, "batch.batch_tokens": 2048, "optimizer.kind": "adamw",
    "optimizer.learning_rate": 1e-3, "schedule.warmup_steps": 200, "train.ema": None, "train.average": 1,
    "train.keep": 1, "train.patience": None, "train.samples": 0, "train.metric": "loss",
}  # fmt: skip


def overrides(name: str, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    run = {"name": f"{name}-{seed}", "data.path": str(args.data), "train.max_steps": args.steps, "train.seed": seed}
    return {**ARCHITECTURES[name], **COMMON, **run, "train.validate_every": args.steps, **shape(name, args)}


def count(settings: dict[str, Any]) -> int:
    with torch.device("meta"):
        model = api.recipe("multi30k", settings).model.assemble(8000)
    return sum(p.numel() for p in model.parameters())


def shape(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The width, and the hidden size if there is one, that bring the parameters closest to the common number."""
    fixed = {**ARCHITECTURES[name], **COMMON, "data.path": str(args.data)}
    has_hidden = "hidden" in str(api.recipe("multi30k", fixed).model.feedforward)
    steps = range(96, 513, 32 if has_hidden else 4)
    width = min(steps, key=lambda w: abs(count({**fixed, **wide(w, 4 * w if has_hidden else None)}) - args.parameters))
    if not has_hidden:
        return wide(width, None)
    hidden = min(range(64, 3073, 16), key=lambda h: abs(count({**fixed, **wide(width, h)}) - args.parameters))
    return wide(width, hidden)


def wide(width: int, hidden: int | None) -> dict[str, Any]:
    return {"model.width": width, **({} if hidden is None else {"model.feedforward.hidden": hidden})}


def one(name: str, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train and measure one architecture, in this process."""
    settings, start = overrides(name, args, seed), time.perf_counter()
    run = td.train("multi30k", settings, out=HERE, quiet=True)
    timings = [json.loads(line) for line in (run.path / "timings.jsonl").read_text().splitlines()]
    model = td.load(run.path)
    found = run.result["test"] if run.result else {}
    state = state_bytes(model.model)
    with torch.no_grad():
        memory = model.model.remember(torch.ones(1, 16, dtype=torch.int64), td_layout(16))
    return {
        "parameters": sum(p.numel() for p in model.model.parameters()), "bleu": found["bleu"], "loss": found["loss"],
        "seconds": timings[-1]["seconds"], "tokens_per_second": timings[-1]["tokens_per_second"],
        "all_seconds": time.perf_counter() - start, "peak_mib": own_peak(), "signature": found["signature"],
        "state_bytes": state.fixed + 16 * state.per_token + nbytes(memory), "width": settings["model.width"],
        "hidden": settings.get("model.feedforward.hidden"),
    }  # fmt: skip


def td_layout(tokens: int) -> Any:
    from transduce.model.layout import dense

    return dense(1, tokens)


def results(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def table(found: dict[str, Any], args: argparse.Namespace) -> str:
    lines = [
        "| architecture | BLEU | seeds | loss (nats) | training | tokens/s | parameters | peak MiB | state, bytes |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = {name: [r for key, r in found.items() if key.rsplit("/", 1)[0] == name] for name in ARCHITECTURES}
    for name, runs in sorted(rows.items(), key=lambda item: -statistics.mean([r["bleu"] for r in item[1]] or [-1])):
        if runs:
            numbers = [key for key, value in runs[0].items() if isinstance(value, int | float)]
            mean = {key: statistics.mean(r[key] for r in runs) for key in numbers}
            each = ", ".join(f"{r['bleu']:.1f}" for r in runs)
            lines.append(
                f"| {name} | {mean['bleu']:.1f} | {each} | {mean['loss']:.3f} | {mean['seconds'] / 60:.1f} min | "
                f"{mean['tokens_per_second']:,.0f} | {mean['parameters']:,.0f} | {mean['peak_mib']:,.0f} | "
                f"{mean['state_bytes']:,.0f} |"
            )
    signatures = {r["signature"] for r in found.values()}
    return "\n".join([*lines, "", f"{args.steps} updates; {machine()}; BLEU {', '.join(signatures)}."]) + "\n"


def picture(found: dict[str, Any]) -> Path:
    """BLEU of each architecture, and BLEU against the time that its training took."""
    names = {key.rsplit("/", 1)[0] for key in found}
    seeds = sorted({key.rsplit("/", 1)[1] for key in found})
    names = {name for name in names if all(f"{name}/{seed}" in found for seed in seeds)}
    each = [{name: found[f"{name}/{seed}"] for name in names} for seed in seeds]
    mean = {name: statistics.mean(runs[name]["bleu"] for runs in each) for name in names}
    figure, (bars, cloud) = draw.figure(
        {"title": "Multi30k, German to English, equal parameters and updates", "xlabel": "BLEU, each seed a dot"},
        {"title": "What it costs", "xlabel": "minutes of training", "ylabel": "BLEU"},
    )
    order = sorted(names, key=lambda name: -mean[name])
    draw.bars(bars, [{name: runs[name]["bleu"] for name in names} for runs in each], {n: n for n in order}, ".1f")
    bars.tick_params(axis="y", labelsize=8)
    for number, name in enumerate(order):
        minutes = statistics.mean(runs[name]["seconds"] for runs in each) / 60
        cloud.plot([minutes], [mean[name]], "o", color=draw.COLORS[number % len(draw.COLORS)])
        cloud.annotate(name, (minutes, mean[name]), xytext=(4, 3), textcoords="offset points", fontsize=7)
    cloud.margins(x=0.2)
    file = HERE / "architectures.png"
    figure.savefig(file)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--parameters", type=int, default=PARAMETERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one[0], args, int(args.one[1]))))
        return
    HERE.mkdir(parents=True, exist_ok=True)
    file = HERE / "results.json"
    for seed in args.seeds:
        for name in args.only:
            key, found = f"{name}/{seed}", results(file)
            if key in found:
                continue
            command = [sys.executable, __file__, "--data", str(args.data), "--steps", str(args.steps)]
            command += ["--parameters", str(args.parameters), "--one", name, str(seed)]
            ran = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if ran.returncode:
                print(f"{key}: exit status {ran.returncode}", file=sys.stderr)
                continue
            beside = file.with_suffix(".new")
            beside.write_text(json.dumps({**results(file), key: json.loads(ran.stdout.splitlines()[-1])}, indent=1))
            os.replace(beside, file)
            print(key, ran.stdout.splitlines()[-1], flush=True)
    print(table(results(file), args))
    print(picture(results(file)))


if __name__ == "__main__":
    main()
