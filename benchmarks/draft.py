"""Texts with and without a draft: the same texts, checked, and the ratio of the times they take, one at a time.

    python benchmarks/draft.py --multi30k DIR

Three small models are trained first: one that repairs text (its answer repeats most of what it is given), one that
continues captions, and a smaller one that guesses for that one. Printed for each way: tokens/s, tokens per step of the
model, and the median of the ratio of times. Then, for the shape of GPT-2 124M with random weights, how much longer a
step takes that reads several guesses: a draft pays where more of them hold.
"""

import argparse
import gzip
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from common import in_turn, machine, ratio

import transduce as td
from transduce.generate.packed import reader
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.model.ops.rows import rows_alike
from transduce.model.trial import trying
from transduce.transducer import Transducer

PARTS = ("repair", "prose", "step")
NOISE = str.maketrans("", "", ".,'-")


def captions(folder: str, count: int) -> list[str]:
    """The first English captions of the training split that are not long."""
    with gzip.open(Path(folder) / "train.en.gz", "rt", encoding="utf-8") as lines:
        return [line.strip() for line in islice((line for line in lines if len(line) < 100), count)]


def trained(
    recipe: str, out: Path, name: str, rows: list[str], steps: int, threads: int, **changes: Any
) -> Transducer:  # fmt: skip
    """A run of a recipe on rows of text, with the model's products in float32."""
    file = out / f"{name}.{'tsv' if recipe == 'pairs' else 'txt'}"
    file.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    usual = {
        "data.path": str(file), "name": name, "tokenizer": "char", "train.max_steps": steps,
        "train.validate_every": steps,
        "train.samples": 4, "schedule.warmup_steps": max(1, steps // 10), "train.threads": threads,
        "model.feedforward.hidden": 4 * changes["model.width"], "batch.batch_tokens": 2048, "train.device": "cpu",
    }  # fmt: skip
    td.train(recipe, {**usual, **changes}, out=out, quiet=True)
    return td.load(out / name, device="cpu")


def steps_of(model: Model, write: Callable[[], object]) -> int:
    """Returns how many times a model makes a step while something is written."""
    calls, step = [0], type(model).step

    def counted(self: Model, *given: Any) -> Any:
        calls[0] += type(self) is type(model) and sum(p.numel() for p in self.parameters()) >= size
        return step(self, *given)

    size = sum(p.numel() for p in model.parameters())
    type(model).step = counted
    try:
        write()
    finally:
        type(model).step = step
    return calls[0]


def compare(task: str, model: Transducer, texts: list[str], ways: dict[str, Any], rounds: int, **how: Any) -> None:
    """Prints a row for every draft, after it has written the same texts."""
    one = model.translate if task == "repair" else model.generate
    runs = {
        name: lambda r, draft=draft: [str(one(text, draft=draft, beam_size=1, **how)) for text in texts]
        for name, draft in ways.items()
    }
    plain = runs["none"](0)
    tokens = sum(len(model.tokenizer.encode(text)) + (task == "repair") for text in plain)
    times = in_turn(
        runs, rounds, warmup=1, now=time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    )
    for name, run in runs.items():
        same = sum(a == b for a, b in zip(run(0), plain, strict=True))
        steps = steps_of(model.model, lambda run=run: run(0))
        print(f"{task:<10} {name:<8} {tokens / statistics.median(times[name]):>9.0f} {tokens / steps:>11.2f} "
              f"{ratio(times, name, 'none'):>6.2f}x {same:>4} of {len(plain)}", flush=True)  # fmt: skip


def longer(rounds: int, prefix: int = 128) -> None:
    """Prints how much longer a step takes with guesses, for the shape of GPT-2 124M."""
    model = reader(td.build("gpt-2-124m", device="cpu"))
    print(f"\nGPT-2 124M, after {prefix} tokens: the time of a step with guesses, by that of a step without a draft")
    with torch.inference_mode():
        state = model.init_state(1, prefix + 16)
        _, state = model.step(torch.zeros(1, prefix, dtype=torch.int64), dense(1, prefix), state)

        def read(guesses: int) -> torch.Tensor:
            ids = torch.zeros(1, guesses + 1, dtype=torch.int64)
            return model.token_head(model.step(ids, dense(1, guesses + 1, prefix), state)[0][0])

        def ahead(guesses: int) -> torch.Tensor:
            with rows_alike(True), trying():
                return read(guesses)

        runs = {"without": lambda r: read(0), **{str(n): lambda r, n=n: ahead(n) for n in (0, 1, 2, 4, 8, 14)}}
        times = in_turn(runs, rounds, now=time.process_time if torch.get_num_threads() == 1 else time.perf_counter)
    for name in [*runs][1:]:
        print(f"{name:>3} guesses: {1 / ratio(times, name, 'without'):.2f} times as long")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--multi30k", default="../shared/data/multi30k")
    parser.add_argument("--steps", type=int, default=600, help="updates of each training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--train-threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(machine())
    rows = captions(args.multi30k, 6000)
    unseen, rows = rows[: args.texts], rows[args.texts :]
    print(f"{'task':<10} {'draft':<8} {'tokens/s':>9} {'tokens/step':>11} {'ratio':>7} {'same':>8}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        if "repair" in args.only:
            spoilt = [text.lower().translate(NOISE) for text in unseen]
            pairs = [f"{text.lower().translate(NOISE)}\t{text}" for text in rows]
            repair = trained(
                "pairs", out, "repair", pairs, args.steps, args.train_threads,
                **{"model.width": 128, "model.layers": 2, "model.mixer.heads": 4, "model.residual.dropout": 0.0},
            )  # fmt: skip
            compare("repair", repair, spoilt, {"none": None, "lookup": "lookup"}, args.rounds, max_new_tokens=120)
            right = sum(repair.translate(a, draft=None, beam_size=1) == b for a, b in zip(spoilt, unseen, strict=True))
            print(f"{right} of {len(unseen)} captions are repaired without a fault")
        if "prose" in args.only:
            one = {"data.unit": "line", "model.mixer.heads": 4, "model.mixer.window": None}
            threads = args.train_threads
            large = {"model.width": 256, "model.layers": 6}
            prose = trained("shakespeare", out, "prose", rows, args.steps, threads, **one, **large)
            trained(
                "shakespeare", out, "small", rows, args.steps, threads,
                **one, **{"model.width": 64, "model.layers": 1},
            )  # fmt: skip
            ways = {"none": None, "lookup": "lookup", "run": str(out / "small")}
            begun = [text[:40] for text in unseen]
            compare("greedy", prose, begun, ways, args.rounds, max_new_tokens=100, temperature=0.0)
            compare("sampled", prose, begun, ways, args.rounds, max_new_tokens=100, temperature=0.8)
    if "step" in args.only:
        longer(args.rounds)


if __name__ == "__main__":
    main()
