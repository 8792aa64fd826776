"""The result of a norm for a token may depend on the other rows of the batch, and even on the future."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import decoder
from transduce.reproduce.mark import Mark, Measurements

NORMS = ("layer-norm", "rms-norm", "batch-norm")


@dataclass(frozen=True, kw_only=True)
class BatchMates(Experiment):
    """A causal Transformer with each norm: other rows, or later tokens, are exchanged, and the first row looked at."""

    kind: ClassVar[str] = "batch-mates"
    claim = "BatchNorm makes an output depend on the rest of its batch; LayerNorm and RMSNorm do not."
    source = "Ba, Kiros, Hinton 2016, arXiv:1607.06450, sec. 2"
    marks = (
        Mark("other rows, batch-norm, training", ">=", 1e-2, proposed=True),
        Mark("other rows, layer-norm, training", "<=", 1e-5, proposed=True),
        Mark("other rows, rms-norm, training", "<=", 1e-5, proposed=True),
        Mark("other rows, batch-norm, evaluation", "<=", 1e-5, proposed=True),
        Mark("later tokens, batch-norm, training", ">=", 1e-2, proposed=True),
        Mark("later tokens, layer-norm, training", "<=", 1e-5, proposed=True),
    )
    minutes = 0.1
    explain = (
        "In a causal model statistics over time leak the future: with BatchNorm in training, a later token changes "
        "what is said of an earlier one. In evaluation it uses the averages it has kept, and the leak is gone, so that "
        "training and use do not see the same function."
    )
    width: int = 64
    tokens: int = 13
    rows: int = 8

    def run(self, seed: int) -> Measurements:
        generator, half = torch.Generator().manual_seed(seed), self.tokens // 2
        ids = torch.randint(20, (self.rows, self.tokens), generator=generator)
        others, later = ids.clone(), ids.clone()
        others[1:] = torch.randint(20, (self.rows - 1, self.tokens), generator=generator)
        later[0, half:] = (later[0, half:] + 1) % 20
        values: Measurements = {}
        for norm in NORMS:
            model = decoder(20, seed, width=self.width, layers=2, norm=norm)
            for mode in ("training", "evaluation"):
                model.train(mode == "training")
                before = hidden(model, ids)[0, :half]
                for name, changed in (("other rows", others), ("later tokens", later)):
                    after = hidden(model, changed)[0, :half]
                    values[f"{name}, {norm}, {mode}"] = float((after - before).abs().max())
        return values

    def plot(self, results: Sequence[Measurements]) -> Figure:
        panels = [
            {"title": f"{what} changed, in training", "xlabel": "greatest change of the first tokens' output"}
            for what in ("Other rows", "Later tokens")
        ]
        figure, axes = draw.figure(*panels)
        for panel, what in zip(axes, ("other rows", "later tokens"), strict=True):
            draw.bars(panel, results, {norm: f"{what}, {norm}, training" for norm in NORMS}, ".2g")
        return figure


@torch.no_grad()
def hidden(model: Model, ids: Tensor) -> Tensor:
    return model.features(Batch(ids, dense(ids.shape[0], ids.shape[1]), ids))
