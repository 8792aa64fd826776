"""Where the norm stands decides how large the gradients are before the first update."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure

from transduce.data.batch import Batch
from transduce.model.feedforward.mlp import MLP
from transduce.model.layout import dense
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import decoder, gradients, norms, score
from transduce.reproduce.mark import Mark, Measurements

PLACEMENTS = ("post-norm", "pre-norm")


@dataclass(frozen=True, kw_only=True)
class GradientsAtTheStart(Experiment):
    """The gradient of the feed-forward output matrices of new models, on random tokens, by depth."""

    kind: ClassVar[str] = "gradients-at-the-start"
    claim = "The last layer's gradient is large at any depth with Post-LN, and falls as the root of depth with Pre-LN."
    source = "Xiong et al. 2020, arXiv:2002.04745, theorem 1"
    paper = "Post-LN about 1.6 with 6 to 14 layers; Pre-LN as the inverse root of the depth"
    marks = (
        Mark("Pre-LN, deepest / shallowest", "<=", 0.6, proposed=True),
        Mark("Pre-LN, deepest / shallowest", ">=", 0.4, proposed=True),
        Mark("Post-LN, greatest deviation from its mean", "<=", 0.2),
    )
    minutes = 3
    explain = (
        "In theory the quotient of Pre-LN is the root of 6 / 24, 0.5. The theorem is about the mean over start values, "
        "so the norms are means over several draws of them: one draw of a Post-LN network may give twice another."
    )
    draws: int = 4
    depths: tuple[int, ...] = (6, 12, 24)
    width: int = 256
    tokens: int = 64
    batch: int = 16
    symbols: int = 65

    def run(self, seed: int) -> Measurements:
        generator, found = torch.Generator().manual_seed(seed), Measurements()
        ids = torch.randint(self.symbols, (self.batch, self.tokens + 1), generator=generator)
        batch = Batch(ids[:, :-1], ids[:, 1:], dense(self.batch, self.tokens))
        for placement in PLACEMENTS:
            for depth in self.depths:
                drawn = [self.by_layer(placement, depth, seed * self.draws + i, batch) for i in range(self.draws)]
                found[f"by layer, {placement}, {depth}"] = [sum(g) / self.draws for g in zip(*drawn, strict=True)]
            found[f"last layer, {placement}"] = [found[f"by layer, {placement}, {depth}"][-1] for depth in self.depths]
        mean = sum(found["last layer, post-norm"]) / len(self.depths)
        found["Post-LN, greatest deviation from its mean"] = max(
            abs(x / mean - 1) for x in found["last layer, post-norm"]
        )
        found["Pre-LN, deepest / shallowest"] = found["last layer, pre-norm"][-1] / found["last layer, pre-norm"][0]
        return found

    def by_layer(self, placement: str, depth: int, seed: int, batch: Batch) -> list[float]:
        """Of the gradient of every layer's output matrix."""
        model = decoder(
            self.symbols, seed, width=self.width, layers=depth, positions="learned", tie_embeddings=False,
            residual={"kind": placement, "dropout": 0.0},
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
