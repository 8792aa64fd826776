"""How many updates a small model takes to add, where the answer is written from its last digit, and from its first.

    python benchmarks/sums_order.py [SEED ...] [KEY=VALUE ...]

The recipe `sums` at a constant rate, validated every 25 updates on 1,000 sums that it does not train on, until 990 of
them are exact. Told: updates and CPU seconds of each order and seed, and the ratio of the mean updates.
"""

import sys
import time
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import transduce as td

ENOUGH, EVERY, MOST = 0.99, 25, 3000


class Learnt(Exception):
    """Enough sums are exact."""


def until_learnt(event: td.Update | td.Validation) -> None:
    if isinstance(event, td.Validation) and event.evaluation.values["exact"].value >= ENOUGH:
        raise Learnt(event.step)


def updates(reverse: bool, seed: int, changes: list[tuple[str, str]]) -> int:
    """Returns after how many updates enough sums are exact, at most MOST."""
    keys = [
        ("data.reverse", reverse), ("train.seed", seed), ("schedule", "constant"), ("train.validate_every", EVERY),
        ("train.max_steps", MOST), ("train.threads", 1), ("train.precision", "fp32"), *changes,
    ]  # fmt: skip
    with TemporaryDirectory() as folder:
        try:
            td.train("sums", keys, out=Path(folder), quiet=True, watch=until_learnt)
        except Learnt as learnt:
            return int(learnt.args[0])
    return MOST


def main(seeds: list[int], changes: list[tuple[str, str]]) -> None:
    counts: dict[bool, list[int]] = {True: [], False: []}
    for seed in seeds:
        for reverse in counts:
            began = time.process_time()
            counts[reverse].append(updates(reverse, seed, changes))
            order = "last digit first" if reverse else "first digit first"
            print(
                f"seed {seed}, {order}: {counts[reverse][-1]} updates, {time.process_time() - began:.0f} CPU s",
                flush=True,
            )
    print(f"first digit first takes {mean(counts[False]) / mean(counts[True]):.2f} times the updates")


if __name__ == "__main__":
    words = sys.argv[1:]
    changed = [(word.split("=", 1)[0], word.split("=", 1)[1]) for word in words if "=" in word]
    main([int(word) for word in words if "=" not in word] or [0, 1, 2], changed)
