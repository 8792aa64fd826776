"""Copying a sentence of random symbols, with attention and without, by the length of the sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import BARE, adam, fit, late, reached, score, translator
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements
from transduce.reproduce.tasks import copying, written

EVERY = 20  # updates between two looks at what it writes alone
RECURRENT = {**BARE, "layers": 1, "tie_embeddings": "none"}
LSTM = {"kind": "lstm", "forget_bias": 0.0}  # as it was in 2014
GRU = {**RECURRENT, "mixer": "gru", "width": 128}
REVERSING = "Transformer, writing from the end"
TRANSFORMER = {"layers": 2, "width": 64}
MODELS: dict[str, dict[str, Any]] = {
    "Transformer": TRANSFORMER,
    REVERSING: TRANSFORMER,
    "GRU with attention": {
        **GRU, "residual": {"kind": "add", "dropout": 0.0}, "encoder_mixer": {"kind": "bidirectional", "mixer": "gru"},
        "cross": "additive", "cross_place": "inside", "bridge": "project",
    },
    "GRU": {
        **GRU, "encoder_mixer": {"kind": "bidirectional", "directions": "forward", "mixer": "gru"},
        "cross": "none", "bridge": "state",
    },
    "LSTM": {
        **GRU, "mixer": LSTM, "encoder_mixer": {"kind": "bidirectional", "directions": "forward", "mixer": LSTM},
        "cross": "none", "bridge": "state",
    },
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CopyingAndAttention(Experiment):
    """50 symbols, strings of 10 and of 20; every model with the same batches, scored in two ways.

    Teacher-forced: on the next symbol, the right ones before it given. Alone: on what it writes by itself.
    """

    kind: ClassVar[str] = "copying-and-attention"
    claim = "A decoder that attends to its source copies long sentences; one that is given a single vector does not."
    source = "Bahdanau, Cho, Bengio 2014, arXiv:1409.0473; Lioutas & Drozdyuk 2019, arXiv:1905.09856"
    paper = "BLEU of copied sentences 0.03 without, 0.75 with one, 0.84 with all attention (from the authors' logs)"
    marks = (
        Mark("updates until 99% teacher-forced, GRU with attention, 20", "<=", 800),
        Mark("updates until 99% teacher-forced, Transformer, 20", "<=", 400),
        Mark(f"updates until 99% teacher-forced, {REVERSING}, 20", "<=", 400),
        Mark("updates until 99% alone, GRU with attention, 20", "<=", 800),
        Mark("updates until 99% alone, Transformer, 20", "<=", 800),
        Mark("accuracy teacher-forced, GRU, 20", "<=", 0.6),
        Mark("accuracy teacher-forced, GRU, 10", ">=", 0.75),
        Mark("accuracy teacher-forced, LSTM, 20", "<=", 0.95),
        Mark("accuracy alone, GRU, 20", "<=", 0.6, proposed=True),
        Mark("accuracy alone, LSTM, 20", "<=", 0.6, proposed=True),
    )
    minutes = 9
    explain = (
        "The decoder is given the target shifted by one and never the token that it has to write; the released code of "
        "the copying paper showed it, and scored what was written with the right words given. Alone, a wrong symbol "
        "spoils what follows, so 99% takes longer; it is asked for every 20 updates, on 64 strings, and training ends "
        "when it is reached in both ways. The GRU with attention meets the mark of 800 updates teacher-forced, but not "
        "alone; what had been measured before, 446, does not say in which of the two ways. The "
        "forget gates of the LSTM have no bias at the start, as in 2014."
    )
    history = (
        Change(
            first="a mark, accuracy alone, GRU with attention, 20 >= 0.95, asked when teacher-forced accuracy was 99%",
            gave="0.952 (0.945 to 0.959), a miss in one seed",
            then="marks on the updates until 99% alone, at most 800; training goes on until both are reached",
            why="a wrong symbol spoils what follows, so accuracy alone is behind whenever training ends",
        ),
        Change(
            first="a mark, updates until 99% teacher-forced, Transformer, 20 <= 800",
            gave="332 (310 to 362)",
            then="400 for 800, and a Transformer that writes from the end",
            why="800 was far from what had been measured",
        ),
    )
    symbols: int = 50
    lengths: tuple[int, ...] = (10, 20)
    steps: int = 2000
    rate: float = 2e-3
    batch: int = 32

    def run(self, seed: int) -> Measurements:
        values: Measurements = {}
        for length in self.lengths:
            for name in MODELS:
                values |= self.trained(name, length, seed)
        return values

    def trained(self, name: str, length: int, seed: int) -> Measurements:
        generator, apart = (torch.Generator().manual_seed(n) for n in (seed, seed + 1000))
        model, right, alone = translator(self.symbols + 1, seed, **MODELS[name]), list[float](), list[float]()

        def batch(rows: int, g: torch.Generator) -> Batch:
            made = copying(rows, length, self.symbols, g)
            assert made.source is not None
            return made._replace(source=made.source.flip(1)) if name == REVERSING else made

        def loss() -> Tensor:
            found = score(model, batch(self.batch, generator))
            right.append(found.accuracy)
            return found.loss

        def learnt() -> bool:
            if len(right) % EVERY == 0:
                alone.append(float(matches(model, batch(64, apart)).mean()))
            return reached(right[-10:], 0.99) is not None and bool(alone) and alone[-1] >= 0.99

        fit(model, loss, self.steps, adam(model, self.rate), clip=1.0, until=learnt)
        found = matches(model, batch(256, apart))
        times = reached(alone, 0.99, window=1)
        return {
            f"updates until 99% teacher-forced, {name}, {length}": reached(right, 0.99),
            f"updates until 99% alone, {name}, {length}": None if times is None else EVERY * times,
            f"accuracy teacher-forced, {name}, {length}": late(right, 10),
            f"accuracy alone, {name}, {length}": float(found.mean()),
            f"whole strings alone, {name}, {length}": float(found.amin(1).mean()),
            f"accuracies, {name}, {length}": draw.means(right),
        }

    def plot(self, results: Sequence[Measurements]) -> Figure:
        how = {"xlabel": "update", "ylabel": "teacher-forced accuracy (mean of 10 batches)", "ylim": (0, 1.03)}
        figure, axes = draw.figure(*({"title": f"Strings of {n}", **how} for n in self.lengths))
        for panel, n in zip(axes, self.lengths, strict=True):
            draw.lines(panel, results, draw.UPDATES, {name: f"accuracies, {name}, {n}" for name in MODELS})
        return figure


def matches(model: Model, batch: Batch) -> Tensor:
    """Returns (B, N): 1 where what the model writes by itself is right, 0 where it is not."""
    assert batch.source is not None
    return (written(model, batch.source) == batch.targets).float()
