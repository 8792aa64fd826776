"""In a deep Pre-LN network the later layers are all given nearly the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, cast

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from transduce.model.batch import Batch
from transduce.model.block import Block
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.model.residual.residual import Function, Stream
from transduce.model.state import State
from transduce.reproduce import draw
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import TextExperiment
from transduce.reproduce.fit import adam, decoder, fit, score
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements

PLACEMENTS = {"Pre-LN": "pre-norm", "Post-LN": "post-norm", "ResiDual": "residual-dual"}


@dataclass(frozen=True, kw_only=True)
class RepresentationCollapse(TextExperiment):
    """How far the input of each sublayer is from that of the next: 24 layers before training, on random tokens; and
    12 trained on text, at a rate that rises for the first third of the updates."""

    kind: ClassVar[str] = "representation-collapse"
    claim = (
        "The inputs of sublayers differ ever less with depth in Pre-LN, and as much as ever in Post-LN and ResiDual."
    )
    source = "Liu et al. 2020, arXiv:2004.08249; Xie et al. 2023, arXiv:2304.14802, sec. 2"
    marks = (
        Mark("45 / 2, Pre-LN", "<=", 0.5),
        Mark("45 / 2, Post-LN", ">=", 0.9),
        Mark("45 / 2, ResiDual", ">=", 0.9),
        Mark("last / 2, trained, ResiDual / Pre-LN", ">=", 1.5, proposed=True),
    )
    minutes = 3
    explain = (
        "45 / 2: the mean absolute difference behind the 45th sublayer, divided by that behind the second. Sublayers "
        "of ResiDual are given what those of Post-LN are, as its second stream is only read at the end: only training "
        "can make the two differ. Where vectors of positions start as large as those of tokens, the stream is larger "
        "from the beginning, and the ratio of Pre-LN lies just above the mark; where they start small, it meets it. "
        "That the inputs differ ever less is seen in both."
    )
    history = (
        Change(
            first="the start values of the library, in which vectors of positions were small beside those of tokens",
            gave="45 / 2, Pre-LN: 0.378 (0.369 to 0.392), which met its mark of 0.5",
            then="the same start values, fixed by the experiment",
            why="the library now starts vectors of positions as large as those of tokens, which gave 0.50, 0.52 and "
            "0.51, a miss",
        ),
        Change(
            first="small start values of positions, fixed by the experiment",
            gave="45 / 2, Pre-LN: 0.378 (0.369 to 0.392)",
            then="the start values of the library, whatever they give",
            why="the claim names no start values",
        ),
    )
    layers: int = 24
    width: int = 128
    tokens: int = 64
    batch: int = 16
    symbols: int = 65
    trained_layers: int = 12
    trained_width: int = 64
    steps: int = 240
    rate: float = 1e-3

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        generator, values = torch.Generator().manual_seed(seed), Measurements()
        ids = torch.randint(self.symbols, (self.batch, self.tokens), generator=generator)
        for name, residual in PLACEMENTS.items():
            model = self.model(self.symbols, residual, self.layers, self.width, seed)
            seen = changes(model, Batch(ids, dense(self.batch, self.tokens), ids))
            values |= {f"changes, {name}": seen, f"45 / 2, {name}": seen[min(45, len(seen)) - 1] / seen[1]}
        for name, residual in PLACEMENTS.items():
            values |= self.trained(name, residual, corpus, seed)
        values["last / 2, trained, ResiDual / Pre-LN"] = (
            values["last / 2, trained, ResiDual"] / values["last / 2, trained, Pre-LN"]
        )
        return values

    def trained(self, name: str, residual: str, corpus: Corpus, seed: int) -> Measurements:
        generator = torch.Generator().manual_seed(seed)
        model = self.model(corpus.symbols, residual, self.trained_layers, self.trained_width, seed)

        def loss() -> Tensor:
            return score(model, corpus.draw(self.batch, self.tokens, generator)).loss

        def schedule(step: int) -> float:
            return self.rate * min(1.0, 3 * (step + 1) / self.steps)

        losses = fit(model, loss, self.steps, adam(model, self.rate, (0.9, 0.98)), schedule=schedule)
        seen = changes(model, corpus.draw(self.batch, self.tokens, generator))
        return {
            f"changes, trained, {name}": seen,
            f"last / 2, trained, {name}": seen[-1] / seen[1],
            f"losses, {name}": draw.means(losses),
        }

    def model(self, symbols: int, residual: str, layers: int, width: int, seed: int) -> Model:
        return decoder(
            symbols, seed, width=width, layers=layers, positions="learned",
            residual={"kind": residual, "dropout": 0.0},
        )  # fmt: skip

    def plot(self, results: Sequence[Measurements]) -> Figure:
        how = {"xlabel": "sublayer", "ylabel": "mean |input of the next - input|"}
        figure, axes = draw.figure(
            {"title": f"{self.layers} layers before training", **how},
            {"title": f"{self.trained_layers} layers after {self.steps} updates", **how},
        )
        curves = {"Pre-LN": "changes, Pre-LN", "Post-LN and ResiDual": "changes, Post-LN"}
        draw.lines(axes[0], results, None, curves)
        draw.lines(axes[1], results, None, {name: f"changes, trained, {name}" for name in PLACEMENTS})
        for panel in axes:
            draw.from_zero(panel)
        return figure


@torch.no_grad()
def changes(model: Model, batch: Batch) -> list[float]:
    """Returns the mean absolute difference of the inputs of every sublayer and the next."""
    inputs = list[Tensor]()

    def see(module: nn.Module, arguments: tuple[Stream, Function]) -> tuple[Stream, Function]:
        stream, f = arguments

        def watched(x: Tensor) -> tuple[Tensor, State]:
            inputs.append(x)
            return f(x)

        return stream, watched

    blocks = [cast(Block, block) for stack in model.stacks() for block in stack.blocks]
    handles = [residual.register_forward_pre_hook(see) for block in blocks for residual in block.residuals]
    model.features(batch)
    for handle in handles:
        handle.remove()
    return [float((b - a).abs().mean()) for a, b in pairwise(inputs)]
