"""Each pre-training objective on the same text with bodies of one size: the gain of a linear probe over random weights.

    python benchmarks/pretrain_probe.py FOLDER [OBJECTIVE ...] [--steps 600] [--probe 250] > table.md

FOLDER holds wikitext-2/train.txt.gz, sst2/{train,valid}.txt and trec/{train,valid}.txt. Every objective is given the
same windows of text, as many of them, in the same order. The probe trains a linear map on the mean of the hidden
states, which stay as they are (`start=RUN tune=head`); of an encoder-decoder, those of its encoder. A body of random
weights is one after a single step with a rate of nearly 0. Numbers are of the validation split at the end of the probe.
"""

import argparse
import gzip
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from classify import utf_8

import transduce as td

BODY: dict[str, Any] = {
    "model.width": 64, "model.layers": 2, "model.mixer": {"kind": "attention", "heads": 4},
    "model.feedforward": {"kind": "mlp", "hidden": 256, "activation": "gelu"}, "model.norm": "layer-norm",
    "model.residual": {"kind": "pre-norm", "dropout": 0.1}, "model.positions": "learned", "model.embedding": "table",
    "tokenizer.vocab_size": 2000, "batch.max_length": 64, "batch.batch_tokens": 2048, "schedule.warmup_steps": 40,
    "optimizer.learning_rate": 0.003, "train.samples": 0, "train.threads": 1,
}  # fmt: skip
PAIRS: dict[str, Any] = {
    "objective.pair": "order", "model.heads": {"pair": {"kind": "classes", "classes": 2, "pool": ["first"]}},
    "model.embedding": {"kind": "table", "types": 2},
}  # fmt: skip
XLNET: dict[str, Any] = {"model.positions": "transformer-xl", "model.embedding": {"kind": "table", "blank": True}}
GLM: dict[str, Any] = {"model.positions": {"kind": "learned", "inner": 66}}
ENDS: dict[str, Any] = {"tokenizer.sentinels": 100}
OBJECTIVES: dict[str, tuple[str, str, dict[str, Any]]] = {  # body, recipe, what differs from it
    "masked-lm": ("encoder", "pretrain-mlm", {}),
    "masked-lm, whole words": ("encoder", "pretrain-mlm", {"objective.whole_words": True}),
    "masked-lm, order of halves": ("encoder", "pretrain-mlm", PAIRS),
    "replaced-tokens": ("encoder", "pretrain-electra", {"model.generator_width": 32}),
    "permutation": ("encoder, relative places", "pretrain-xlnet", XLNET),
    "next-token": ("decoder", "pretrain-clm", {}),
    "prefix-lm": ("decoder", "pretrain-clm", {"objective": "prefix-lm"}),
    "causal-masked": ("decoder", "pretrain-clm", {"objective": "causal-masked", **ENDS}),
    "blank-infilling": ("decoder, two places", "pretrain-glm", GLM),
    "span-corruption": ("encoder-decoder", "pretrain-t5", {}),
    "mixture": ("encoder-decoder", "pretrain-ul2", {}),
    "denoising": ("encoder-decoder", "pretrain-bart", {}),
    "gap-sentences": ("encoder-decoder", "pretrain-bart", {"objective": "gap-sentences"}),
}  # fmt: skip
SETS: dict[str, dict[str, Any]] = {"sst2": {}, "trec": {"task.label_end": ":"}}


def trained(objective: str, text: Path, steps: int, place: Path, rate: dict[str, Any]) -> Path:
    """The run of an objective."""
    _, recipe, changes = OBJECTIVES[objective]
    length = {
        "train.max_steps": steps,
        "train.validate_every": steps,
        "data.path": str(text),
        "data.valid_fraction": 0.02,
    }
    run = td.train(recipe, {**BODY, **length, **changes, **rate}, out=place, quiet=True)
    return run.path


def probed(start: Path, data: Path, changes: dict[str, Any], steps: int, place: Path) -> float:
    """The accuracy of a linear probe on the hidden states of a run."""
    over = {
        "data.path": str(data), "start": str(start), "tune": "head",
        "model.head": {"kind": "classes", "pool": ["mean"]},
        "objective.label_smoothing": 0.0, "batch.max_length": 60, "batch.batch_tokens": 4096, "train.max_steps": steps,
        "train.validate_every": steps, "schedule.warmup_steps": 10, "optimizer.learning_rate": 0.05,
        "optimizer.weight_decay": 0.0,
        "train.threads": 1, **changes,
    }  # fmt: skip
    result = td.train("classify", over, out=place, quiet=True).result or {}
    return float(result["valid"]["accuracy"])


def accuracies(start: Path, sets: dict[str, Path], steps: int) -> list[float]:
    values = list[float]()
    for name, data in sets.items():
        with TemporaryDirectory() as place:
            values.append(probed(start, data, SETS[name], steps, Path(place)))
    return values


def main(folder: Path, names: list[str], steps: int, probe: int, characters: int) -> None:
    print("| body | objective | SST-2 | gain | TREC | gain | minutes |\n| --- | --- | --- | --- | --- | --- | --- |")
    with TemporaryDirectory() as place:
        root, random = Path(place), dict[str, list[float]]()
        with gzip.open(folder / "wikitext-2" / "train.txt.gz", "rt", encoding="utf-8") as file:
            (root / "text.txt").write_text(file.read(characters), "utf-8")
        sets = {name: root / name for name in SETS}
        for name, data in sets.items():
            data.mkdir()
            utf_8(folder / name, data)
        for number, name in enumerate(names):
            body, began = OBJECTIVES[name][0], time.monotonic()
            if body not in random:
                still = {"optimizer.learning_rate": 1e-9, "schedule": {"kind": "constant"}, "schedule.warmup_steps": 1}
                run = trained(name, root / "text.txt", 1, root / f"random-{number}", still)
                random[body] = accuracies(run, sets, probe)
                cells = (f"{value:.3f} | " for value in random[body])
                print(f"| {body} | random weights | {'| '.join(cells)}| |", flush=True)
                began = time.monotonic()
            run = trained(name, root / "text.txt", steps, root / f"{number}", {})
            minutes = (time.monotonic() - began) / 60
            pairs = zip(accuracies(run, sets, probe), random[body], strict=True)
            cells = [f"{value:.3f} | {value - base:+.3f}" for value, base in pairs]
            print(f"| {body} | {name} | {' | '.join(cells)} | {minutes:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("objectives", nargs="*", default=list(OBJECTIVES))
    parser.add_argument("--steps", type=int, default=600, help="updates of pre-training")
    parser.add_argument("--probe", type=int, default=250, help="updates of the probe")
    parser.add_argument("--characters", type=int, default=3_000_000, help="of the text")
    given = parser.parse_args()
    main(given.folder, given.objectives, given.steps, given.probe, given.characters)
