"""Bits per character of counted models on tunes: Kneser-Ney of characters, beside which a trained model is read.

    python benchmarks/kneser_ney.py ABC [KEY=VALUE ...]

ABC: what data.path of the recipe `tunes` is; further keys are those of its data, such as drops='[X, S]'. A tune ends
with a character of its own, as it does for a model; characters that train does not have are one.
"""

import math
import sys

import yaml

from transduce.config import from_data
from transduce.data.tunes import Tunes
from transduce.reproduce.ancestors.kneser_ney import KneserNey

ORDERS = range(4, 13)


def main(path: str, changes: list[str]) -> None:
    keys = {word.split("=", 1)[0]: yaml.safe_load(word.split("=", 1)[1]) for word in changes}
    splits = from_data(Tunes, {"path": path, **keys}).load()
    train, valid = ([str(tune) for tune in splits[name]["text"]] for name in ("train", "valid"))
    ids = {character: i for i, character in enumerate(sorted(set("".join(train))), 3)}  # 0: start, 1: end, 2: unknown
    rows = [[[ids.get(character, 2) for character in tune] for tune in tunes] for tunes in (train, valid)]
    targets = sum(len(row) + 1 for row in rows[1])
    print(f"{len(train)} tunes to count, {len(valid)} to predict: {targets:,} characters, {len(ids)} different ones")
    for order in ORDERS:
        nats = -math.fsum(KneserNey(rows[0], len(ids) + 3, order).log_p(rows[1])) / targets
        print(f"order {order}: {nats / math.log(2):.4f} bits per character, {nats:.4f} nats", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
