"""ULMFiT (Howard and Ruder 2018) on film reviews: what a language model is worth to a classifier with few labels.

    python benchmarks/ulmfit.py FOLDER OUT [BODY ...] [--labels 100 500 4000] [--seeds 3] [--passes 2] > table.md

FOLDER holds wikitext-2/train.txt.gz and imdb/{unsup,train,valid}.jsonl.gz. A body (lstm, transformer) first learns to
predict the next token of wikitext-2, in one pass, then of the reviews without labels, in --passes; from there a
classifier of the last, greatest and mean hidden state is trained on so many labelled reviews, in the ways of WAYS. With
the seed other reviews are taken, half of them of each label; of a long review the first 256 tokens are read. A bag of
words stands beside: logistic regression on the weights (tf-idf) of words and pairs of words, whose strength is chosen
by five folds of the labelled reviews. All runs stay in OUT, and the same command goes on where it was stopped.
Accuracies are those after the last update, on valid, by which nothing was chosen. One thread; minutes are those of the
processor, without the two language models.
"""

import argparse
import gzip
import importlib
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transduce as td
from transduce.runs.run import Run

BODIES: dict[str, dict[str, Any]] = {
    "lstm": {"model.mixer": {"kind": "lstm", "size": 384}, "model.positions": "none", "model.feedforward": "none"},
    "transformer": {},
}
BODY: dict[str, Any] = {"model.width": 192, "model.layers": 2, "model.residual": {"kind": "pre-norm", "dropout": 0.2}}
FIXED: dict[str, Any] = {"train.threads": 1, "train.samples": 0, "train.patience": None, "train.ema": None}
LANGUAGE: dict[str, Any] = {
    **FIXED, "batch.batch_tokens": 4096, "batch.max_length": 256, "data.valid_fraction": 0.02,
    "optimizer": {"kind": "muon", "learning_rate": 0.003, "weight_decay": 0.1}, "schedule.warmup_steps": 50,
}  # fmt: skip
CLASSIFIER: dict[str, Any] = {
    **FIXED, "batch.batch_tokens": 4096, "batch.max_length": 256, "train.validate_every": 1_000_000,
    "objective.label_smoothing": 0.0, "optimizer.weight_decay": 0.01, "data.header": True,
}  # fmt: skip
HEAD = {"kind": "classes", "pool": ["last", "max", "mean"], "hidden": 50, "activation": "relu", "dropout": 0.2}
SLANTED: dict[str, Any] = {"schedule": {"kind": "slanted-triangular"}}
WAYS: dict[str, dict[str, Any]] = {  # an epoch is put in the place of "epoch"
    "from scratch": {"optimizer.learning_rate": 0.002},
    "head alone": {"tune": "head", "optimizer.learning_rate": 0.005},
    "all, at one rate": {"tune": "full", "optimizer.learning_rate": 0.001},
    "ulmfit": {"tune": {"kind": "ulmfit", "unfreeze_steps": "epoch"}, "optimizer.learning_rate": 0.005, **SLANTED},
}
EPOCHS = {100: 20, 500: 10}  # of a classifier; 3 of more labels


def rows(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]


def clean(text: str) -> str:
    return " ".join(text.replace("<br />", " ").split())


def table(path: Path, some: list[dict[str, Any]]) -> None:
    lines = "".join(f"{('negative', 'positive')[row['label']]}\t{clean(row['text'])}\n" for row in some)
    path.write_text("label\ttext\n" + lines, "utf-8")


def texts(folder: Path, out: Path) -> None:
    """Writes the two texts of language models, a document in each line, and the tokeniser of both."""
    with gzip.open(folder / "wikitext-2" / "train.txt.gz", "rt", encoding="utf-8", newline="\n") as lines:
        kept = [line.strip() for line in lines if line.strip() and not line.startswith(" =")]
    (out / "wiki.txt").write_text("\n".join(kept) + "\n", "utf-8")
    reviews = [clean(row["text"]) for row in rows(folder / "imdb" / "unsup.jsonl.gz")]
    (out / "reviews.txt").write_text("\n".join(reviews) + "\n", "utf-8")
    (out / "both.txt").write_text("\n".join(kept + reviews) + "\n", "utf-8")


def language(name: str, body: str, out: Path, text: str, changes: dict[str, Any]) -> Path:
    """The language model of a text, finished, and a line about it."""
    keys = {**LANGUAGE, "data": {"kind": "text", "path": str(out / text), "unit": "line", "valid_fraction": 0.02}}
    began = time.process_time()
    if not (out / name / "result.json").exists():  # it is not finished
        td.train("pretrain-clm", {**keys, **changes, "name": name}, out=out, quiet=True)
    run = Run(out / name)
    loss = [line["val_loss"] for line in run.metrics if "val_loss" in line][-1]
    print(
        f"<!-- {body}: {name}, {loss:.3f} nats per token, {(time.process_time() - began) / 60:.1f} min -->", flush=True
    )
    return run.path


def bag_of_words(train: list[dict[str, Any]], valid: list[dict[str, Any]]) -> dict[str, Any]:
    """The accuracy of a logistic regression on tf-idf of the words and pairs of words that two reviews have."""
    text: Any = importlib.import_module("sklearn.feature_extraction.text")
    linear: Any = importlib.import_module("sklearn.linear_model")
    vector = text.TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
    x = vector.fit_transform(clean(row["text"]) for row in train)
    fitted = linear.LogisticRegressionCV(Cs=10, cv=5, max_iter=2000).fit(x, [row["label"] for row in train])
    read = vector.transform(clean(row["text"]) for row in valid)
    return {"accuracy": float(fitted.score(read, [row["label"] for row in valid]))}


def chosen(train: list[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    """So many labelled reviews, half of them of each label; all of them where there are no more."""
    draw, out = random.Random(seed), list[dict[str, Any]]()
    for label in (0, 1):
        own = [row for row in train if row["label"] == label]
        out += draw.sample(own, min(count // 2, len(own)))
    draw.shuffle(out)
    return out


def classifier(way: str, body: str, start: Path, data: Path, out: Path, count: int, seed: int) -> dict[str, Any]:
    """The accuracy of a classifier, and minutes of the processor."""
    epochs = EPOCHS.get(count, 3)
    per_epoch = -(-sum(min(len(line.split()) * 1.25, 256) for line in data.joinpath("train.tsv").open()) // 4096)
    changes = dict(WAYS[way])
    if isinstance(changes.get("tune"), dict):
        changes["tune"] = {**changes["tune"], "unfreeze_steps": int(per_epoch)}
    if way == "from scratch":
        changes |= {**BODY, **BODIES[body], "model.kind": "decoder", "tokenizer": {"kind": "file", "path": str(start)}}
    else:
        changes["start"] = str(start)
    keys = {**CLASSIFIER, "model.head": HEAD, "schedule.warmup_steps": 5, **changes, "data.path": str(data)}
    keys |= {"train.max_epochs": epochs, "train.seed": seed}
    began = time.process_time()
    run = td.train(
        "classify",
        {**keys, "name": f"{body}-{way.replace(', ', '-').replace(' ', '-')}-{count}-{seed}"},
        out=out,
        quiet=True,
    )
    return {"accuracy": (run.result or {})["valid"]["accuracy"], "minutes": (time.process_time() - began) / 60}


def shown(values: list[float]) -> str:
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def main(folder: Path, out: Path, bodies: list[str], labels: list[int], seeds: int, passes: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "both.txt").exists():
        texts(folder, out)
    tokenizer = {"kind": "bpe", "vocab_size": 8000, "lowercase": True}
    if not (out / "tokenizer").exists():
        first = {
            "data.path": str(out / "both.txt"),
            "data.unit": "line",
            "tokenizer": tokenizer,
            "train.max_steps": 1,
            "schedule.warmup_steps": 0,
        }
        td.train("pretrain-clm", {**LANGUAGE, **BODY, **first, "name": "tokenizer"}, out=out, quiet=True)
    cut = {"tokenizer": {"kind": "file", "path": str(out / "tokenizer")}}
    train, valid = (rows(folder / "imdb" / f"{split}.jsonl.gz") for split in ("train", "valid"))
    done, kept = dict[str, dict[str, Any]](), out / "results.jsonl"
    if kept.exists():
        done = {row["cell"]: row for row in map(json.loads, kept.read_text("utf-8").splitlines())}

    def cell(name: str, make: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
        if name not in done:
            done[name] = {"cell": name, **make(*given)}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[name]) + "\n")
        return done[name]

    print(
        "| body | labels | way | accuracy, mean (least to greatest) of seeds | min |\n| --- | --- | --- | --- | --- |"
    )
    for body in bodies:
        wiki = language(
            f"{body}-wiki",
            body,
            out,
            "wiki.txt",
            {**BODY, **BODIES[body], **cut, "train.max_epochs": 1, "train.validate_every": 100_000},
        )
        tuned = language(
            f"{body}-reviews",
            body,
            out,
            "reviews.txt",
            {"start": str(wiki), "train.max_epochs": passes, "train.validate_every": 100_000},
        )
        for count in labels:
            data = {seed: out / f"data-{count}-{seed}" for seed in range(seeds)}
            for seed, place in data.items():
                place.mkdir(exist_ok=True)
                table(place / "train.tsv", chosen(train, count, seed))
                table(place / "valid.tsv", valid)
            bags = [cell(f"bag {count} {seed}", bag_of_words, chosen(train, count, seed), valid) for seed in data]
            print(f"| bag of words | {count} | | {shown([bag['accuracy'] for bag in bags])} | |", flush=True)
            for way in WAYS:
                found = [
                    cell(f"{body} {way} {count} {seed}", classifier, way, body, tuned, place, out, count, seed)
                    for seed, place in data.items()
                ]
                minutes = statistics.mean(row["minutes"] for row in found)
                print(
                    f"| {body} | {count} | {way} | {shown([row['accuracy'] for row in found])} | {minutes:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("bodies", nargs="*", default=list(BODIES))
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 500, 4000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=2)
    given = parser.parse_args()
    main(given.folder, given.out, given.bodies, given.labels, given.seeds, given.passes)
