"""Megabytes of text encoded per second, against `datasets.map` with the same tokeniser; and what a second start costs.

    python benchmarks/prepare.py TEXT --datasets PYTHON

PYTHON: an interpreter that has `datasets` and the same `tokenizers` (left out: that side is not measured). Both sides
read TEXT as lines and write ids, with two processes, in turn. A start is a process that trains three updates.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from transduce import api
from transduce.runs.prepare import prepare
from transduce.text.bpe import Bpe
from transduce.text.tokenizer import Tokenizer

PEER = """
import json, sys, time
text, tokenizer, cache = sys.argv[1:]
import os
os.environ["HF_HOME"] = os.environ["HF_DATASETS_CACHE"] = cache
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import datasets, tokenizers
datasets.disable_progress_bars()
cut = tokenizers.Tokenizer.from_file(tokenizer + "/tokenizer.json")
cut.encode_special_tokens = True
begun = time.perf_counter()
lines = datasets.load_dataset("text", data_files=text, split="train", cache_dir=cache)
read = time.perf_counter()
def encode(rows):
    return {"ids": [e.ids for e in cut.encode_batch_fast(rows["text"], add_special_tokens=False)]}
ids = lines.map(encode, batched=True, num_proc=2, remove_columns=["text"])
done = time.perf_counter()
print(json.dumps([done - read, done - begun]))
"""
START = """
import resource, sys, time
import transduce as td
from transduce.training import train as _
begun, first = time.perf_counter(), []
def see(event):
    if not first:
        first.append((time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
over = {"data.path": sys.argv[1], "data.unit": "file", "data.valid_fraction": 0,
        "model.width": 64, "model.layers": 1, "train.samples": 0,
        "schedule.warmup_steps": 0, "batch.packing": False, "train.threads": 1, "name": "r"}
over["train.max_steps"] = int(sys.argv[3])
td.train("text", {**over, "schedule.kind": "constant"}, out=sys.argv[2], watch=see, quiet=True)
print(f"{first[0][0]:.2f} {first[0][1]:.0f}")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--datasets", default="")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    size = asked.text.stat().st_size / 1e6
    over = {"data.path": str(asked.text.absolute()), "data.unit": "line", "data.valid_fraction": 0}
    recipe, ratios, rates = api.recipe("text", over), list[tuple[float, float]](), list[float]()
    with tempfile.TemporaryDirectory() as place:
        with asked.text.open(encoding="utf-8") as file:
            Bpe(vocab_size=8000).train([file.read(1 << 23)]).save(f"{place}/tokenizer")
        for number in range(asked.rounds):
            begun = time.perf_counter()
            made = prepare(
                recipe, Path(place) / f"ours-{number}", given=Tokenizer.load(f"{place}/tokenizer"), processes=2
            )
            ours = time.perf_counter() - begun
            rates.append(size / ours)
            if asked.datasets:
                words = [asked.datasets, "-c", PEER, over["data.path"], f"{place}/tokenizer", f"{place}/peer-{number}"]
                found = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
                mapped, whole = json.loads(found)
                ratios.append((mapped / ours, whole / ours))
        tokens = len(made.splits["train"]["text"].ids.flat)  # type: ignore[attr-defined]
        print(f"{size:,.0f} MB, {tokens:,} tokens: {statistics.median(rates):.1f} MB/s")
        if ratios:
            alone, with_reading = (statistics.median(column) for column in zip(*ratios, strict=True))
            print(f"{alone:.2f} times as fast as datasets.map, {with_reading:.2f} with the reading of the text")
        else:
            print("datasets is not measured; name an interpreter that has it: --datasets PYTHON")
        for name, steps in (("first", 1), ("second", 2)):
            words = [sys.executable, "-c", START, over["data.path"], f"{place}/runs", str(steps)]
            found = subprocess.run(words, capture_output=True, text=True, check=False)
            seconds, mib = found.stdout.split() if found.returncode == 0 else (found.stderr[-300:], "?")
            print(f"{name} start: {seconds} s to the first update beyond imports, {mib} MiB at most until then")


if __name__ == "__main__":
    main()
