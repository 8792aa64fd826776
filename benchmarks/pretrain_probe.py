"""Each pre-training objective on the same text with bodies of one size: the gain of a linear probe over random weights.

    python benchmarks/pretrain_probe.py FOLDER [OBJECTIVE ...] [--steps 600] > table.md

FOLDER holds wikitext-2/train.txt.gz, sst2/{train,valid}.txt and trec/{train,valid}.txt. Every objective is given the
same windows of text, as many of them, in the same order. The probe is a linear map on the mean of the last hidden
states, which stay as they are, scaled and fitted to the end; of an encoder-decoder, on those of its encoder. A body of
random weights is one after a single step with a rate of nearly 0. The loss is that of the pre-training on its own
validation split, in nats per target: beside it stands what counting single tokens gives, and a model that has not come
below that has learnt nothing of what stands around a token. Numbers are of the validation splits.
"""

import argparse
import gzip
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from classify import utf_8

import transduce as td
from transduce.data.readers.labels import Labels
from transduce.generate.inputs import pad
from transduce.model.batch import Batch
from transduce.model.models import EncoderDecoder
from transduce.model.pool import pooled
from transduce.runs.run import Run

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
BLOCKS: dict[str, Any] = {"objective": "denoising-autoencoder", "tune": "layer-wise", "tune.updates": 300}
ENDS: dict[str, Any] = {"tokenizer.sentinels": 100}
OBJECTIVES: dict[str, tuple[str, str, dict[str, Any]]] = {  # body, recipe, what differs from it
    "masked-lm": ("encoder", "pretrain-mlm", {}),
    "masked-lm, whole words": ("encoder", "pretrain-mlm", {"objective.whole_words": True}),
    "masked-lm, order of halves": ("encoder", "pretrain-mlm", PAIRS),
    "denoising-autoencoder": ("encoder", "pretrain-mlm", BLOCKS),
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
SETS: dict[str, str | None] = {"sst2": None, "trec": ":"}  # what ends a label


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


def probed(start: Path, data: Path, end: str | None, strength: float = 0.001) -> float:
    """The accuracy of a linear probe on the hidden states of a run. end: of labels; strength: of its weight decay.

    The features are scaled to mean 0 and deviation 1 over the training rows, as those of little spread would count for
    nothing else, and the map is fitted to the end: by L-BFGS, whose result does not depend on a rate or on steps.
    """
    model = td.load(start, device="cpu")
    labels = Labels(end=end)
    lines = [(data / f"{name}.txt").read_text("utf-8").strip("\n").split("\n") for name in ("train", "valid")]
    rows = [[line.partition(" ")[::2] for line in part] for part in lines]
    labels = labels.fit([label for label, _ in rows[0]], "label")
    x, y = (features(model, [text for _, text in part]) for part in rows)
    of, wanted = (torch.from_numpy(labels.encode([label for label, _ in part], "label")) for part in rows)
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    x, y = (x - mean) / deviation, (y - mean) / deviation
    probe = torch.nn.Linear(x.shape[1], labels.size, dtype=torch.float64)
    torch.nn.init.zeros_(probe.weight)
    torch.nn.init.zeros_(probe.bias)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(probe(x), of) + strength * probe.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return float((probe(y).argmax(-1) == wanted).double().mean())


@torch.inference_mode()
def features(model: td.Transducer, texts: list[str]) -> torch.Tensor:
    """(N, M) float64: the mean of the last hidden states of each text, without dropout; of two stacks, the first's."""
    opens, out = list(model.tokenizer.marks.opens), list[torch.Tensor]()
    for i in range(0, len(texts), 64):
        rows = [[*opens, *row[:60]] for row in model.tokenizer.encode_batch(texts[i : i + 64])]
        ids, layout = pad(rows, torch.device("cpu"))
        one, batch = model.model, Batch(ids, layout, ids)
        hidden = one.encoder(ids, layout)[0] if isinstance(one, EncoderDecoder) else one.features(batch)
        out.append(pooled(hidden, layout, ("mean",)).double())
    return torch.cat(out)


def unigram(run: Path, text: Path) -> float:
    """The entropy of single tokens of a text, in nats."""
    ids = [
        i for row in td.load(run, device="cpu").tokenizer.encode_batch(text.read_text("utf-8").split("\n")) for i in row
    ]
    p = torch.tensor(ids).bincount().double() / len(ids)
    return -float(torch.xlogy(p, p).sum())


def main(folder: Path, names: list[str], steps: int, characters: int) -> None:
    print("| body | objective | loss | SST-2 | gain | TREC | gain | minutes |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with TemporaryDirectory() as place:
        root, random = Path(place), dict[str, list[float]]()
        with gzip.open(folder / "wikitext-2" / "train.txt.gz", "rt", encoding="utf-8") as file:
            (root / "text.txt").write_text(file.read(characters), "utf-8")
        sets = {name: root / name for name in SETS}
        for name, data in sets.items():
            data.mkdir()
            utf_8(folder / name, data)
        for number, name in enumerate(names):
            body = OBJECTIVES[name][0]
            if body not in random:
                still = {"optimizer.learning_rate": 1e-9, "schedule": {"kind": "constant"}, "schedule.warmup_steps": 1}
                run = trained(name, root / "text.txt", 1, root / f"random-{number}", still)
                random[body] = [probed(run, data, SETS[one]) for one, data in sets.items()]
                cells, counted = (f"{value:.3f} | " for value in random[body]), unigram(run, root / "text.txt")
                print(f"| {body} | random weights | single tokens: {counted:.2f} | {'| '.join(cells)}| |", flush=True)
            began = time.monotonic()
            run = trained(name, root / "text.txt", steps, root / f"{number}", {})
            minutes = (time.monotonic() - began) / 60
            loss = [line["val_loss"] for line in Run(run).metrics if "val_loss" in line][-1]
            own = [probed(run, data, SETS[one]) for one, data in sets.items()]
            pairs = zip(own, random[body], strict=True)
            cells = [f"{value:.3f} | {value - base:+.3f}" for value, base in pairs]
            print(f"| {body} | {name} | {loss:.2f} | {' | '.join(cells)} | {minutes:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("objectives", nargs="*", default=list(OBJECTIVES))
    parser.add_argument("--steps", type=int, default=600, help="updates of pre-training")
    parser.add_argument("--characters", type=int, default=3_000_000, help="of the text")
    given = parser.parse_args()
    main(given.folder, given.objectives, given.steps, given.characters)
