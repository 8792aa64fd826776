"""In a deep Pre-LN network the later layers are all given nearly the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from transduce.data.batch import Batch
from transduce.model.block import Sublayer
from transduce.model.layout import dense
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import decoder
from transduce.reproduce.mark import Mark, Measurements

PLACEMENTS = {"Pre-LN": "pre-norm", "Post-LN": "post-norm", "ResiDual": "residual-dual"}


@dataclass(frozen=True, kw_only=True)
class RepresentationCollapse(Experiment):
    """24 layers before training, on random tokens: how far the input of each sublayer is from that of the next."""

    kind: ClassVar[str] = "representation-collapse"
    claim = (
        "The inputs of sublayers differ ever less with depth in Pre-LN, and as much as ever in Post-LN and ResiDual."
    )
    source = "Liu et al. 2020, arXiv:2004.08249; Xie et al. 2023, arXiv:2304.14802, sec. 2"
    marks = (
        Mark("45 / 2, Pre-LN", "<=", 0.5),
        Mark("45 / 2, Post-LN", ">=", 0.9),
        Mark("45 / 2, ResiDual", ">=", 0.9),
    )
    minutes = 0.5
    explain = (
        "45 / 2: the mean absolute difference behind the 45th sublayer, divided by that behind the second. "
        "Sublayers of ResiDual are given what those of Post-LN are: its second stream is only read at the end."
    )
    layers: int = 24
    width: int = 128
    tokens: int = 64
    batch: int = 16
    symbols: int = 65

    def run(self, seed: int) -> Measurements:
        generator, found = torch.Generator().manual_seed(seed), Measurements()
        ids = torch.randint(self.symbols, (self.batch, self.tokens), generator=generator)
        for name, residual in PLACEMENTS.items():
            model = decoder(
                self.symbols, seed, width=self.width, layers=self.layers, positions="learned",
                residual={"kind": residual, "dropout": 0.0},
            )  # fmt: skip
            inputs = list[Tensor]()

            def see(module: nn.Module, given: tuple[Any, ...], inputs: list[Tensor] = inputs) -> None:
                inputs.append(given[0])

            for part in model.modules():
                if isinstance(part, Sublayer):
                    part.register_forward_pre_hook(see)
            with torch.no_grad():
                model.features(Batch(ids, ids, dense(self.batch, self.tokens)))
            changes = [float((b - a).abs().mean()) for a, b in pairwise(inputs)]
            found |= {f"changes, {name}": changes, f"45 / 2, {name}": changes[min(45, len(changes)) - 1] / changes[1]}
        return found

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": f"{self.layers} layers before training", "xlabel": "sublayer",
             "ylabel": "mean |input of the next - input|"}
        )  # fmt: skip
        shown = {"Pre-LN": "changes, Pre-LN", "Post-LN and ResiDual": "changes, Post-LN"}
        draw.lines(axes[0], results, None, shown)
        draw.from_zero(axes[0])
        return figure
