"""Ratings of films as the product of two vectors that nobody has written down."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import adam, fit
from transduce.reproduce.mark import Mark, Measurements


@dataclass(frozen=True, kw_only=True)
class DotProduct(Experiment):
    """Ratings made of vectors of four features and noise; a fifth of them is seen, the others are to be guessed."""

    kind: ClassVar[str] = "dot-product"
    claim = "Products of learnt vectors guess ratings that were not seen, from those that were."
    source = "Koren, Bell, Volinsky 2009, Computer 42(8); Bloem 2019, Transformers from scratch"
    marks = (
        Mark("error / noise, 4 features", "<=", 1.1, proposed=True),
        Mark("error / noise, 2 features", ">=", 2.0, proposed=True),
        Mark("error / noise, the mean of what was seen", ">=", 5.0, proposed=True),
    )
    minutes = 1
    explain = (
        "Error: the root mean square on ratings that were not seen, noise included, so that 1 is the least there can "
        "be. It is the score of attention, a query and a key, learnt for itself. With fewer features than there are it "
        "cannot tell users apart; with more it learns noise."
    )
    users: int = 500
    films: int = 400
    features: int = 4
    seen: float = 0.2
    noise: float = 0.1
    steps: int = 600
    rate: float = 2e-2
    tried: tuple[int, ...] = (1, 2, 4, 8)

    def run(self, seed: int) -> Measurements:
        generator, found = torch.Generator().manual_seed(seed), Measurements()
        users, films = (torch.randn(n, self.features, generator=generator) for n in (self.users, self.films))
        ratings = users @ films.T * self.features**-0.5
        ratings = ratings + self.noise * torch.randn(ratings.shape, generator=generator)
        seen = torch.rand(ratings.shape, generator=generator) < self.seen
        for features in self.tried:
            torch.manual_seed(seed)
            guessed = self.learnt(ratings, seen, features)
            found[f"error / noise, {features} features"] = self.error(guessed, ratings, seen)
        mean = ratings[seen].mean().expand_as(ratings)
        found["error / noise, the mean of what was seen"] = self.error(mean, ratings, seen)
        return found

    def learnt(self, ratings: Tensor, seen: Tensor, features: int) -> Tensor:
        """Returns all ratings as products of vectors, learnt from those that were seen."""
        vectors = nn.ModuleList(nn.Embedding(n, features) for n in ratings.shape)
        user, film = seen.nonzero(as_tuple=True)
        wanted = ratings[user, film]

        def loss() -> Tensor:
            return ((vectors[0](user) * vectors[1](film)).sum(-1) - wanted).square().mean()

        fit(vectors, loss, self.steps, adam(vectors, self.rate))
        with torch.no_grad():
            return vectors[0](torch.arange(len(ratings))) @ vectors[1](torch.arange(ratings.shape[1])).T

    def error(self, guessed: Tensor, ratings: Tensor, seen: Tensor) -> float:
        return float((guessed - ratings)[~seen].square().mean().sqrt()) / self.noise

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Ratings that were not seen", "xlabel": "root mean square error / noise", "xscale": "log"}
        )
        names = ["the mean of what was seen", *(f"{n} features" for n in self.tried)]
        draw.bars(axes[0], results, {name: f"error / noise, {name}" for name in names})
        return figure
