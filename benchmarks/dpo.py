"""Pairs per second of direct preference optimisation, beside TRL: the same weights, pairs and precision, one thread.

    python benchmarks/dpo.py FILE --trl PYTHON [--rounds 3] [--precision fp32] [--vocabulary 4000] [KEY=VALUE ...]

FILE: pairs as `transduce train dpo` reads them. PYTHON: an interpreter that has trl (left out: that side is not
measured). The model is that of the recipe `sft` with the given keys, hardly trained, and is exported for TRL. Both
compute log p of the reference beforehand; only updates are measured, in CPU seconds, after the first two, in processes
of their own, in turn. TRL's batches have as many pairs as ours have in the mean. Its batches are padded, since its
padding_free is switched off for this loss; ours stand beside, padded and packed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import transduce as td
from transduce.cli.main import main as command
from transduce.data.chats import Chats
from transduce.data.loader import Loader

SKIPPED = 2  # updates in which memory is taken and kernels are made
PEER = """
import json, sys, time
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer
folder, pairs, out, precision, steps, size, longest = sys.argv[1:]
torch.set_num_threads(1)
rows = json.load(open(pairs))
def turn(role, text):
    return [{"role": role, "content": text}]
data = Dataset.from_list([
    {"prompt": turn("user", p), "chosen": turn("assistant", a), "rejected": turn("assistant", b)} for p, a, b in rows
])
seconds = []
class Watch(TrainerCallback):
    def on_step_begin(self, *args, **more):
        self.begun = time.process_time()
    def on_step_end(self, *args, **more):
        seconds.append(time.process_time() - self.begun)
config = DPOConfig(
    output_dir=out, max_steps=int(steps), per_device_train_batch_size=int(size), learning_rate=5e-5, report_to=[],
    bf16=precision == "bf16", use_cpu=True, gradient_checkpointing=False, save_strategy="no", logging_steps=10,
    precompute_ref_log_probs=True, max_length=int(longest), disable_tqdm=True, warmup_steps=0,
)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
trainer = DPOTrainer(
    model, args=config, train_dataset=data, processing_class=AutoTokenizer.from_pretrained(folder), callbacks=[Watch()]
)
trainer.train()
kept = seconds[2:]
print(json.dumps([int(size) * len(kept), sum(kept)]))
"""


def ours(start: str, path: str, steps: int, changes: dict[str, Any]) -> tuple[int, float]:
    """Returns the pairs of the measured updates, and their CPU seconds."""
    moments, pairs = list[float](), list[int]()
    plain = Loader.stream

    def counted(self: Loader, *args: Any, **more: Any) -> Iterator[Any]:
        for place, batch in plain(self, *args, **more):
            pairs.append(len(batch.examples) // 2)
            yield place, batch

    Loader.stream = counted  # type: ignore[method-assign]
    over = {
        "start": start, "data.path": path, "data.equal": "drop", "data.valid_fraction": 0, "train.max_steps": steps,
        "train.threads": 1, "train.samples": 0, "schedule.warmup_steps": 0, **changes,
    }  # fmt: skip
    with TemporaryDirectory() as place:
        td.train("dpo", over, out=place, quiet=True, watch=lambda event: moments.append(time.process_time()))
    return sum(pairs[SKIPPED:steps]), moments[steps - 1] - moments[SKIPPED - 1]


def apart(*words: str) -> tuple[int, float]:
    """Returns what a process of its own prints last: pairs and seconds."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words[:2])} ... failed:\n{done.stderr[-2000:]}")
    pairs, seconds = json.loads(done.stdout.splitlines()[-1])
    return pairs, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("changes", nargs="*", help="keys of the model")
    parser.add_argument("--trl", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--vocabulary", type=int, default=4000)
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--start", default="", help=argparse.SUPPRESS)  # one contestant alone
    parser.add_argument("--packed", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    how = {"train.precision": asked.precision, "batch.max_length": asked.longest, "batch.packing": asked.packed}
    if asked.start:
        print(json.dumps(ours(asked.start, str(asked.file), asked.steps, how)))
        return
    rows = pairs_of(asked.file)
    with TemporaryDirectory() as place:
        folder = Path(place)
        own = [
            ("data.path", str(asked.file)), ("data.equal", "drop"), ("tokenizer.vocab_size", asked.vocabulary),
            ("train.max_steps", 2), ("schedule.warmup_steps", 0), ("train.samples", 0), ("train.threads", 1),
        ]  # fmt: skip
        td.train("sft", [*own, *(tuple(change.split("=", 1)) for change in asked.changes)], out=folder, quiet=True)
        command(["export", str(folder / "sft"), str(folder / "exported")])
        (folder / "pairs.json").write_text(json.dumps(rows), "utf-8")
        rates = dict[str, list[float]]()
        for number in range(asked.rounds):
            alone = [sys.executable, __file__, str(asked.file), "--start", str(folder / "sft")]
            alone += ["--steps", str(asked.steps), "--precision", asked.precision, "--longest", str(asked.longest)]
            pairs, seconds = apart(*alone)
            rates.setdefault("padded", []).append(pairs / seconds)
            size = max(1, round(pairs / (asked.steps - SKIPPED)))
            packed, spent = apart(*alone, "--packed")
            rates.setdefault("packed", []).append(packed / spent)
            if asked.trl:
                words = [str(folder / "exported"), str(folder / "pairs.json"), str(folder / f"trl-{number}")]
                words += [asked.precision, str(asked.steps), str(size), str(asked.longest)]
                theirs, took = apart(asked.trl, "-c", PEER, *words)
                rates.setdefault("trl", []).append(theirs / took)
            line = ", ".join(f"{name} {values[-1]:.1f}" for name, values in rates.items())
            print(f"round {number}: {line} pairs per CPU second, {size} pairs to a batch", flush=True)
        for name in ("padded", "packed"):
            if "trl" in rates:
                ratio = statistics.median(a / b for a, b in zip(rates[name], rates["trl"], strict=True))
                print(f"{name}: {statistics.median(rates[name]):.1f} pairs/s, {ratio:.2f} times TRL")


def pairs_of(file: Path) -> list[tuple[str, str, str]]:
    """Returns prompt, chosen and rejected of the rows that our reader takes, for prompts of one turn."""
    columns = Chats(path=str(file), valid_fraction=0.0, equal="drop").load(("prompt", "chosen", "rejected"))["train"]
    named = [columns[name] for name in ("prompt", "chosen", "rejected")]
    return [(json.loads(prompt)[-1]["content"], better, worse) for prompt, better, worse in zip(*named, strict=True)]


if __name__ == "__main__":
    main()
