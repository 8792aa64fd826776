"""Which of two answers is preferred, on pairs that were not trained on: a reward model beside what needs none.

    python benchmarks/rewards.py FILE [KEY=VALUE ...]

FILE holds pairs as `transduce train reward` reads them. They are parted into five folds by a hash of the prompt, and of
each both learn from the other four; the last weights of a training are measured, so no fold chooses anything. The bag
of words is a logistic regression on the difference of the counts of words in both answers.
"""

import hashlib
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import transduce as td
from transduce.cli.words import overrides
from transduce.data.chats import Chats

FOLDS, COLUMNS = 5, ("prompt", "chosen", "rejected")


def fold(prompt: str, folds: int = FOLDS) -> int:
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4]) % folds


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+|[^\w\s]", text.lower()))


def bag_of_words(train: list[dict[str, str]], test: list[dict[str, str]]) -> float:
    """The share of right pairs of a logistic regression with a penalty of 0.5 |w|^2."""
    counts = Counter(word for row in train for name in COLUMNS[1:] for word in set(words(row[name])))
    index = {word: i for i, word in enumerate(word for word, n in counts.items() if n > 1)}

    def features(rows: list[dict[str, str]]) -> torch.Tensor:
        x = torch.zeros(len(rows), len(index), dtype=torch.float64)
        for i, row in enumerate(rows):
            for name, sign in (("chosen", 1.0), ("rejected", -1.0)):
                for word, count in words(row[name]).items():
                    if word in index:
                        x[i, index[word]] += sign * count
        return x

    x, w = features(train), torch.zeros(len(index), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = -torch.nn.functional.logsigmoid(x @ w).sum() + 0.5 * w.square().sum()
        value.backward()
        return value

    solver.step(loss)
    margins = features(test) @ w.detach()
    return float(((margins > 0) + 0.5 * (margins == 0)).mean())


def main(file: Path, changes: list[str]) -> None:
    columns = Chats(path=str(file), valid_fraction=0.0, equal="drop").load(COLUMNS)["train"]
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*(columns[name] for name in COLUMNS), strict=True)]
    shares = list[tuple[float, ...]]()
    for number in range(FOLDS):
        rest = [row for row in rows if fold(row["prompt"]) != number]
        parts = {"test": [row for row in rows if fold(row["prompt"]) == number], "train": rest}
        with TemporaryDirectory() as place:
            for split, part in parts.items():
                lines = [json.dumps({**row, "prompt": json.loads(row["prompt"])}) for row in part]
                (Path(place) / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
            began = time.monotonic()
            keys = [("data.path", place), ("data.valid_fraction", 0.0), *overrides(changes)]
            run = td.train("reward", keys, out=Path(place), quiet=True)
            seconds = time.monotonic() - began
            measured = td.load(run.path).evaluate("test").values["pair-accuracy"]
        longer = (measured.baseline or ("", float("nan")))[1]
        shares.append((measured.value, bag_of_words(rest, parts["test"]), longer, seconds))
        print("fold {}: reward {:.3f}, bag of words {:.3f}, the longer {:.3f}, {:.0f} s".format(number, *shares[-1]))
    means = [sum(column) / FOLDS for column in zip(*shares, strict=True)]
    print("mean: reward {:.3f}, bag of words {:.3f}, the longer {:.3f}, {:.0f} s each".format(*means), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
