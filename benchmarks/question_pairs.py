"""Pairs of questions of TREC with a number that says how alike their kinds are, for `transduce train similarity`.

    python benchmarks/question_pairs.py TREC OUT

TREC: a folder with train.txt and valid.txt, lines of COARSE:fine question. OUT gets train.tsv and valid.tsv: two
questions, and 2 where they ask for the same fine kind of thing, 1 where for the same coarse one, else 0. Each question
of a split is the first of three pairs, one of each number where there are such partners.
"""

import random
import sys
from collections import defaultdict
from pathlib import Path


def pairs(path: Path, draw: random.Random, most: int) -> list[tuple[str, str, int]]:
    lines = [line.partition(" ") for line in path.read_text("latin-1").split("\n") if line.strip()]
    rows = [(kind, question.strip()) for kind, _, question in lines]
    fine, coarse = defaultdict[str, list[str]](list), defaultdict[str, list[tuple[str, str]]](list)
    for kind, question in rows:
        fine[kind].append(question)
        coarse[kind.partition(":")[0]].append((kind, question))
    out = list[tuple[str, str, int]]()
    for kind, question in draw.sample(rows, min(most, len(rows))):
        group = kind.partition(":")[0]
        choices = (
            [other for name, other in rows if name.partition(":")[0] != group],
            [other for name, other in coarse[group] if name != kind],
            [other for other in fine[kind] if other != question],
        )
        out += [(question, draw.choice(some), number) for number, some in enumerate(choices) if some]
    return out


def main(source: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for split, most in (("train", 1000), ("valid", 200)):
        rows = pairs(source / f"{split}.txt", random.Random(0), most)
        lines = ["text\tother\tnumber", *(f"{a}\t{b}\t{number}" for a, b, number in rows)]
        (out / f"{split}.tsv").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
