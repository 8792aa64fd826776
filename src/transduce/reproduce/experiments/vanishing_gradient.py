"""The last state of a recurrent network: how much it depends on an input long ago, and what that lets it learn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure

from transduce.model.layout import dense
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import (
    BARE,
    Score,
    adam,
    decoder,
    graded,
    gradients,
    late,
    learn,
    norms,
    reached,
    tagger,
    tags,
)
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements
from transduce.reproduce.tasks import recall

NETWORKS: dict[str, dict[str, Any]] = {
    "Elman": {"kind": "elman"},
    "LSTM, forget bias 0": {"kind": "lstm", "forget_bias": 0.0},
    "LSTM, forget bias 3": {"kind": "lstm", "forget_bias": 3.0},
    "LSTM, forget bias 5": {"kind": "lstm", "forget_bias": 5.0},
    "LSTM of 1997": {"kind": "lstm", "forget_gate": False},
    "GRU": {"kind": "gru"},
}
UNUSED = 2  # ids before the symbols, which never occur
LEARNING = ("Elman", "LSTM, forget bias 0", "LSTM, forget bias 5", "GRU")


@dataclass(frozen=True, kw_only=True)
class VanishingGradient(Experiment):
    """The gradient of a random projection of the last state with respect to each input, in float64, before training;
    then the first of 50 symbols is to be recalled."""

    kind: ClassVar[str] = "vanishing-gradient"
    claim = "The gradient of a simple recurrent network vanishes with the distance; that of an LSTM need not."
    source = "Hochreiter & Schmidhuber 1997, Neural Computation 9; Gers, Schmidhuber, Cummins 2000"
    marks = (
        Mark("slope, Elman", "<=", -0.15),
        Mark("slope, LSTM, forget bias 3", ">=", -0.02),
        Mark("updates until 99%, LSTM, forget bias 5", "<=", 340),
        Mark("updates until 99%, GRU", "<=", 670),
        Mark("accuracy, Elman", "<=", 0.2, proposed=True),
        Mark("accuracy, LSTM, forget bias 0", "<=", 0.2, proposed=True),
    )
    minutes = 5
    explain = (
        "Slope: of the decimal logarithm of the gradient, per token, from 10 to 99 tokens back. An LSTM whose forget "
        "bias starts at 0 keeps half of its cell at each token, and its gradient vanishes, too; what keeps it is the "
        "cell of 1997, which has no forget gate, or a forget bias of 3 or more. Chance of the recall is 0.125. The "
        "symbols have the ids 2 to 9 and the network has ten answers, as usual where ids are reserved."
    )
    history = (
        Change(
            first="a mark, updates until 99%, LSTM, forget bias 5 <= 1,500, with ids 0 to 7 and eight answers",
            gave="212 (169 to 250); all marks were met",
            then="340 for 1,500, and new marks: updates until 99%, GRU <= 1,500; accuracy, LSTM, forget bias 0 <= 0.2",
            why="1,500 was far from what had been measured, and of the GRU nothing had been asked",
        ),
        Change(
            first="the mark on the GRU, with ids 0 to 7 and eight answers",
            gave="never: a GRU, torch's own too, stayed at chance for 1,500 updates, a miss",
            then="ids 2 to 9 and ten answers, and a mark of 670 for the GRU",
            why="ids are usually reserved before those of symbols; that the GRU needs them was not expected",
        ),
    )
    width: int = 64
    tokens: int = 100
    rows: int = 32
    distance: int = 50
    symbols: int = 8
    steps: int = 1500
    rate: float = 2e-3
    batch: int = 64

    def run(self, seed: int) -> Measurements:
        values: Measurements = {}
        for name, mixer in NETWORKS.items():
            logs = self.logs(mixer, seed)
            values |= {f"log10 gradient, {name}": logs, f"slope, {name}": slope(logs[10:])}
        for name in LEARNING:
            values |= self.recalled(name, seed)
        return values

    def recalled(self, name: str, seed: int) -> Measurements:
        generator = torch.Generator().manual_seed(seed)
        symbols = self.symbols + UNUSED
        model = tagger(symbols, symbols, seed, causal=True, mixer=NETWORKS[name], width=self.width, layers=1, **BARE)

        def ask() -> Score:
            task = recall(self.batch, self.distance, self.symbols, generator)
            return graded(tags(model, task.ids + UNUSED), torch.where(task.targets < 0, -1, task.targets + UNUSED))

        right = learn(model, ask, self.steps, adam(model, self.rate), enough=0.99).accuracies
        return {
            f"accuracies, {name}": draw.means(right),
            f"accuracy, {name}": late(right, 10),
            f"updates until 99%, {name}": reached(right, 0.99),
        }

    def logs(self, mixer: dict[str, Any], seed: int) -> list[float]:
        """Returns log10 of the norm of d (r . h_T) / d x_t for each lag T - t, over all rows."""
        generator = torch.Generator().manual_seed(seed)
        model = decoder(2, seed, width=self.width, layers=1, mixer=mixer, **BARE).double()
        x = torch.randn(self.rows, self.tokens, self.width, generator=generator, dtype=torch.float64)
        y, _ = model.stacks()[0](x.requires_grad_(), dense(self.rows, self.tokens))
        direction = torch.randn(self.width, generator=generator, dtype=torch.float64)
        [gradient] = gradients((y[:, -1] @ direction).sum(), x)
        return [math.log10(norm) if norm else -math.inf for norm in norms(gradient.transpose(0, 1).flip(0))]

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Before training", "xlabel": "tokens back", "ylabel": "log10 of the norm of the gradient"},
            {"title": f"Recalling the first of {self.distance} symbols", "xlabel": "update",
             "ylabel": "accuracy (mean of 10 batches)", "ylim": (0, 1.03)},
        )  # fmt: skip
        draw.lines(axes[0], results, range(self.tokens), {name: f"log10 gradient, {name}" for name in NETWORKS})
        draw.lines(axes[1], results, draw.UPDATES, {name: f"accuracies, {name}" for name in LEARNING})
        draw.level(axes[1], 1 / self.symbols, "chance")
        return figure


def slope(values: Sequence[float]) -> float:
    """Returns that of the least-squares line through values at 0, 1, 2, ..."""
    finite = [(i, v) for i, v in enumerate(values) if math.isfinite(v)]
    x, y = (torch.tensor(column, dtype=torch.float64) for column in zip(*finite, strict=True))
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())
