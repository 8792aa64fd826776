"""Gradients before the first update: their size depends on where the norm stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure

from transduce.model.batch import Batch
from transduce.model.feedforward.mlp import MLP
from transduce.reproduce import draw
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import TextExperiment
from transduce.reproduce.fit import decoder, gradients, norms, score
from transduce.reproduce.history import Change
from transduce.reproduce.mark import Mark, Measurements

PLACEMENTS = {"Post-LN": "post-norm", "Pre-LN": "pre-norm", "ResiDual": "residual-dual"}


@dataclass(frozen=True, kw_only=True)
class GradientsAtTheStart(TextExperiment):
    """The gradient of the feed-forward output matrices of new language models of characters, by depth."""

    kind: ClassVar[str] = "gradients-at-the-start"
    claim = "The last layer's gradient is large at any depth with Post-LN, and falls as the root of depth with Pre-LN."
    source = "Xiong et al. 2020, arXiv:2002.04745, theorem 1; Xie et al. 2023, arXiv:2304.14802, sec. 3"
    paper = "Post-LN about 1.6 with 6 to 14 layers; Pre-LN as the inverse root of the depth"
    marks = (
        Mark("Pre-LN, deepest / shallowest", "<=", 0.6, proposed=True),
        Mark("Pre-LN, deepest / shallowest", ">=", 0.4, proposed=True),
        Mark("Post-LN, greatest deviation from its mean", "<=", 0.2),
        Mark("first layer, ResiDual / Post-LN", ">=", 1.0, proposed=True),
        Mark("first / last layer, ResiDual", ">=", 0.3, proposed=True),
    )
    minutes = 4
    explain = (
        "In theory the quotient of Pre-LN is the root of 6 / 24, 0.5. The theorem is about the mean over start values, "
        "so the norms are means over several draws of them, each with a batch of its own. ResiDual keeps the gradient: "
        "what reaches its first layer, here of the deepest networks, passes beside all norms."
    )
    history = (
        Change(
            first="draws=4, all of them with one batch of random tokens",
            gave="Post-LN, greatest deviation from its mean: 0.13 to 0.41, above its mark of 0.2",
            then="draws=12, each with a batch of text of its own; marks on ResiDual were added",
            why="one draw of a Post-LN network may give twice another, and the theorem is about their mean",
        ),
    )
    draws: int = 12
    depths: tuple[int, ...] = (6, 12, 24)
    width: int = 256
    tokens: int = 64
    batch: int = 16

    def run_on(self, corpus: Corpus, seed: int) -> Measurements:
        generator, values = torch.Generator().manual_seed(seed), Measurements()
        batches = [corpus.draw(self.batch, self.tokens, generator) for _ in range(self.draws)]
        for name in PLACEMENTS:
            for depth in self.depths:
                drawn = [
                    self.by_layer(name, depth, corpus.symbols, seed * self.draws + i, batch)
                    for i, batch in enumerate(batches)
                ]
                values[f"by layer, {name}, {depth}"] = [sum(g) / self.draws for g in zip(*drawn, strict=True)]
            values[f"last layer, {name}"] = [values[f"by layer, {name}, {depth}"][-1] for depth in self.depths]
        post, pre = values["last layer, Post-LN"], values["last layer, Pre-LN"]
        mean = sum(post) / len(post)
        values["Post-LN, greatest deviation from its mean"] = max(abs(x / mean - 1) for x in post)
        values["Pre-LN, deepest / shallowest"] = pre[-1] / pre[0]
        deep = {name: values[f"by layer, {name}, {self.depths[-1]}"] for name in PLACEMENTS}
        values |= {f"first / last layer, {name}": layers[0] / layers[-1] for name, layers in deep.items()}
        values["first layer, ResiDual / Post-LN"] = deep["ResiDual"][0] / deep["Post-LN"][0]
        return values

    def by_layer(self, name: str, depth: int, symbols: int, seed: int, batch: Batch) -> list[float]:
        """Returns the norm of the gradient of every layer's output matrix."""
        model = decoder(
            symbols, seed, width=self.width, layers=depth, positions="learned", tie_embeddings=False,
            residual={"kind": PLACEMENTS[name], "dropout": 0.0},
        )  # fmt: skip
        matrices = [m.down.weight for m in model.modules() if isinstance(m, MLP)]
        return norms(gradients(score(model, batch).loss, *matrices))

    def plot(self, results: Sequence[Measurements]) -> Figure:
        deep = self.depths[-1]
        figure, axes = draw.figure(
            {"title": "Last layer", "xlabel": "layers", "ylabel": "norm of the gradient"},
            {"title": f"Every layer of {deep}", "xlabel": "layer", "ylabel": "norm of the gradient", "yscale": "log"},
        )
        draw.lines(axes[0], results, self.depths, {name: f"last layer, {name}" for name in PLACEMENTS}, "o")
        draw.from_zero(axes[0])
        draw.lines(axes[1], results, None, {name: f"by layer, {name}, {deep}" for name in PLACEMENTS})
        return figure
