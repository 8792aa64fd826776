"""A decoder that is given the summary of its source at every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.model.layout import Layout
from transduce.model.models import Model
from transduce.model.state import State
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import BARE, Score, adam, late, learn, score, translator
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements
from transduce.reproduce.tasks import copying, written

MODEL: dict[str, Any] = {
    **BARE, "residual": {"kind": "add", "dropout": 0.0}, "layers": 1, "tie_embeddings": "none", "mixer": "gru",
    "encoder_mixer": {"kind": "bidirectional", "directions": "forward", "mixer": "gru"},
    "encoder_layers": [{"residual": {"kind": "none", "dropout": 0.0}}],  # what it gives is its state alone
    "cross": "context", "cross_place": "before", "bridge": "project",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ContextEveryStep(Experiment):
    """Two GRUs copy strings of 10 of 50 symbols; then c is taken away behind the first step, and logits compared."""

    kind: ClassVar[str] = "context-every-step"
    claim = "A decoder that is given one summary of its source at every step, and no attention, copies short sentences."
    source = "Cho et al. 2014, arXiv:1406.1078, sec. 2.2"
    marks = (
        Mark("accuracy teacher-forced", ">=", 0.75),
        Mark("change of later logits without c", ">=", 1e-2, proposed=True),
        Mark("change of the first logits without c behind them", "<=", 1e-6, proposed=True),
    )
    minutes = 3
    explain = (
        "The summary c is the last state of the encoder. It is added to what the decoder's network is given, and, "
        "through the sum around it, reaches the output. The paper's output units, maxout, are left out. The mark was "
        "set on GRUs of which the second only starts from the summary. "
        "Teacher-forced: the next symbol, the right ones before it given."
    )
    history = (
        Change(
            first="a summary that also had the embedding of the last symbol in it",
            gave="0.65 in one seed, below the mark of 0.75",
            then="the last state of the encoder alone",
            why="that is the summary of the paper",
        ),
    )
    width: int = 128
    tokens: int = 10
    symbols: int = 50
    steps: int = 2000
    rate: float = 2e-3
    batch: int = 32

    def run(self, seed: int) -> Measurements:
        generator = torch.Generator().manual_seed(seed)
        model = translator(self.symbols + 1, seed, width=self.width, **MODEL)

        def ask() -> Score:
            return score(model, copying(self.batch, self.tokens, self.symbols, generator))

        right = learn(model, ask, self.steps, adam(model, self.rate), clip=1.0).accuracies
        source = copying(256, self.tokens, self.symbols, generator).targets
        alone = written(model, source) == source
        first, later = without_context(model, self.tokens, self.symbols, generator)
        return {
            "accuracies": draw.means(right),
            "accuracy teacher-forced": late(right),
            "accuracy alone": float(alone.float().mean()),
            "right by place, alone": [float(place) for place in alone.float().mean(0)],
            "change of the first logits without c behind them": first,
            "change of later logits without c": later,
        }

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": f"Copying {self.tokens} of {self.symbols} symbols", "xlabel": "update",
             "ylabel": "teacher-forced accuracy (mean of 10 batches)", "ylim": (0, 1.03)},
            {"title": "Writing alone, after training", "xlabel": "place in the string", "ylabel": "accuracy",
             "ylim": (0, 1.03)},
        )  # fmt: skip
        draw.lines(axes[0], results, draw.UPDATES, {"c at every step": "accuracies"})
        draw.lines(axes[1], results, None, {"c at every step": "right by place, alone"}, "o")
        return figure


@torch.no_grad()
def without_context(model: Model, tokens: int, symbols: int, generator: torch.Generator) -> tuple[float, float]:
    """Returns how much the first logits, and the later ones, change if c is zero behind the first step."""
    batch = copying(8, tokens, symbols, generator)
    before = model.token_head(model.features(batch))

    [cross] = [mixer for stack in model.stacks() for block in stack for mixer in block.crosses()]
    original = cross.read

    def only_first(x: Tensor, layout: Layout, state: State) -> Tensor:
        return original(x, layout, state) * (torch.arange(tokens) == 0)[:, None]

    cross.read = only_first
    after = model.token_head(model.features(batch))
    del cross.read
    change = (after - before).abs().amax((0, 2))
    return float(change[0]), float(change[1:].max())
