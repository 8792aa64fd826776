"""Perplexity per word: interpolated Kneser-Ney of several orders, an LSTM and a Transformer of about equal parameters.

    python benchmarks/words.py PATH [--steps 4000 | --minutes 12] [--out RUNS]

PATH: a folder with train.txt and valid.txt (or .gz), such as wikitext-2, or one file of sentences, whose end is held
out. Spaces part the words. The end of each line counts as a word, its start does not, and <unk> is a word, as in the
published figures. Models read one stream; n-grams end with their line. All are given the same words and predict the
same targets, which no model was chosen by. Minutes are those of one processor.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import transduce as td
from transduce.data.text import Text
from transduce.reproduce.ancestors.kneser_ney import KneserNey
from transduce.text.tokenizer import Tokenizer
from transduce.text.word import Word

ORDERS = range(2, 6)
VOCABULARY = 50_000
EDGES = (2_000, 10_000)  # of the bands of an adaptive softmax
TRANSFORMER: dict[str, Any] = {
    "model.mixer": {"kind": "attention", "heads": 4, "window": 64}, "model.positions": "alibi",
    "model.feedforward": {"kind": "mlp", "hidden": 512},
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {"LSTM": {}, "Transformer": TRANSFORMER}
Lines = dict[str, list[str]]


def read(path: str) -> Lines:
    """Returns the lines of train and valid."""
    splits = Text(path=path).load()
    texts = {name: "".join(splits[name].given) for name in ("train", "valid")}
    return {name: text.removesuffix("\n").split("\n") for name, text in texts.items()}


def counted(lines: Lines, words: Tokenizer) -> tuple[int, Iterator[tuple[int, float]]]:
    """Returns the number of targets, and order and perplexity of each Kneser-Ney model."""
    train, valid = (words.encode_batch(lines[name]) for name in ("train", "valid"))
    targets = sum(len(row) + 1 for row in valid)

    def perplexity(order: int) -> float:
        grams = KneserNey(train, words.vocab_size, order, words.bos, words.eos)
        return math.exp(-math.fsum(grams.log_p(valid)) / targets)

    return targets, ((order, perplexity(order)) for order in ORDERS)


def written(lines: Lines, folder: Path) -> Path:
    """Returns a folder of streams. Each begins with a line end, behind which its first word is a target, too."""
    folder.mkdir()
    for name, split in (("train", "train"), ("test", "valid")):
        (folder / f"{name}.txt").write_text("\n" + "\n".join(lines[split]) + "\n", "utf-8")
    return folder


def settings(name: str, data: Path, vocabulary: int, steps: int) -> dict[str, Any]:
    """Returns what differs from the recipe."""
    edges = [edge for edge in EDGES if edge < vocabulary]
    bands = {"model.embedding": {"kind": "adaptive", "cutoffs": edges}, "model.head": "adaptive"} if edges else {}
    length = {"train.max_steps": steps, "train.validate_every": steps, "schedule.warmup_steps": min(100, steps // 4)}
    speed = {"train.threads": 1, "train.precision": "fp32", "train.device": "cpu"}
    text = {"data.path": str(data), "data.valid_fraction": 0.0, "tokenizer.vocab_size": vocabulary}
    return {"name": name.lower(), **text, **length, **speed, **bands, **MODELS[name]}


def rate(name: str, data: Path, vocabulary: int, out: Path) -> float:
    """Returns the seconds of the processor that an update takes: the mean of ten, behind two."""
    times = list[float]()
    changes = {**settings(name, data, vocabulary, 13), "name": f"{name}-timed".lower()}
    td.train("pretrain-words", changes, out=out, quiet=True, watch=lambda _: times.append(time.process_time()))
    return (times[12] - times[2]) / 10


def learnt(name: str, data: Path, vocabulary: int, steps: int, out: Path) -> tuple[int, float, int]:
    """Returns the parameters of a model, its perplexity, and how many targets that is of."""
    run = td.train("pretrain-words", settings(name, data, vocabulary, steps), out=out, quiet=True)
    result = json.loads((run.path / "result.json").read_text("utf-8"))["test"]
    size = sum(p.numel() for p in td.load(run.path, device="cpu").model.parameters())
    return size, result["perplexity"], result["count"]


def main(path: str, vocabulary: int, steps: int, minutes: float | None, out: Path) -> None:
    lines = read(path)
    words = Word(split="whitespace", vocab_size=vocabulary).train(lines["train"])
    (targets, perplexities), vocabulary = counted(lines, words), words.vocab_size + 1  # models have the line end, too
    print(f"{len(lines['train']):,} lines to learn from, {len(lines['valid']):,} to predict: {targets:,} targets\n")
    print("| model | parameters | updates | perplexity | minutes |\n| --- | ---: | ---: | ---: | ---: |", flush=True)
    began = time.process_time()
    for order, perplexity in perplexities:
        spent, began = (time.process_time() - began) / 60, time.process_time()
        print(f"| Kneser-Ney, order {order} | | | {perplexity:.1f} | {spent:.1f} |", flush=True)
    with TemporaryDirectory() as place:
        data = written(lines, Path(place) / "data")
        for name in MODELS:
            if minutes is not None:
                steps = max(1, round(60 * minutes / rate(name, data, vocabulary, Path(place))))
            began = time.process_time()
            parameters, perplexity, count = learnt(name, data, vocabulary, steps, out)
            assert count == targets, f"{name} predicts {count} targets, and n-grams {targets}"
            spent = (time.process_time() - began) / 60
            print(f"| {name} | {parameters:,} | {steps:,} | {perplexity:.1f} | {spent:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY, help="words, the most frequent")
    parser.add_argument("--steps", type=int, default=4000, help="updates of each model")
    parser.add_argument("--minutes", type=float, help="of each model, in place of --steps; reading data comes on top")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="a folder for the runs, lstm and transformer")
    given = parser.parse_args()
    main(given.path, given.vocabulary, given.steps, given.minutes, given.out)
