"""Ratings of films, predicted: a mean, what is usual for both, and the product of two vectors."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from transduce.data.read import lines
from transduce.errors import UserError
from transduce.reproduce import draw
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import adam, fit
from transduce.reproduce.mark import Mark, Measurements

FILES = ("ratings_train.csv", "ratings_valid.csv")
HEADER = "userId,movieId,rating,timestamp"
RATING = re.compile(r"([0-9]{1,18}),([0-9]{1,18}),(0\.5|[1-4](?:\.[05])?|5(?:\.0)?),([0-9]{1,18})")
UNSEEN, HELD = "error on ratings it has not seen", "error on the last training ratings"
Row = tuple[int, int, float, int]


class Ratings(NamedTuple):
    """Rating n is what user[n] thinks of film[n], half a star to five; in the order in which each user gave them."""

    user: Tensor
    film: Tensor
    stars: Tensor

    def take(self, some: Tensor) -> "Ratings":
        return Ratings(self.user[some], self.film[some], self.stars[some])


class Factors(nn.Module):
    """mean + b_user + b_film + u . f.   Koren, Bell, Volinsky 2009."""

    def __init__(self, users: int, films: int, features: int, mean: Tensor) -> None:
        super().__init__()
        self.mean = mean
        self.offsets = nn.ParameterList(torch.zeros(n, 1) for n in (users, films))
        self.vectors = nn.ParameterList(0.1 * torch.randn(n, features) for n in (users, films))

    def forward(self, user: Tensor, film: Tensor) -> Tensor:
        b_user, b_film = F.embedding(user, self.offsets[0]), F.embedding(film, self.offsets[1])
        u, f = F.embedding(user, self.vectors[0]), F.embedding(film, self.vectors[1])
        return self.mean + (b_user + b_film)[:, 0] + (u * f).sum(-1)


@dataclass(frozen=True, kw_only=True)
class MovieRatings(Experiment):
    """It reads MovieLens: ratings_train.csv and ratings_valid.csv (or .gz), which are the split, with later ratings in
    the second. Updates are fixed beforehand. Both lambdas are those with the least error on the last tenth of the
    training ratings of each user, first that of the offsets, then that of the vectors beside them; then all training
    ratings are learnt, and the validation ratings are looked at once.
    """

    kind: ClassVar[str] = "movie-ratings"
    claim = "Products of learnt vectors guess ratings of films better than what is usual for user and film alone."
    source = "Koren, Bell, Volinsky 2009, Computer 42(8); Bloem 2019, Transformers from scratch"
    marks = (
        Mark(UNSEEN, "<=", 0.95),
        Mark(f"{UNSEEN} - that of offsets alone", "<=", -0.001, proposed=True),
    )
    minutes = 2
    explain = (
        "A rating is guessed as mean + offset of the user + offset of the film + u . f; squared errors plus lambda "
        "times the squares of offsets and vectors are minimised. Error: the root mean square, in stars. The validation "
        "ratings are the later ones of each user, among them films that training does not have; a seed changes where "
        "the vectors start. Offsets alone are the same without vectors; they, too, meet the first mark, so what "
        "products are worth is told by the second. It was set with the training ratings alone in view: on the last of "
        "them vectors gained 0.005."
    )
    features: int = 8
    steps: int = 200
    rate: float = 2e-2
    tried: tuple[int, ...] = (1, 3, 10, 20, 50)

    def measure(self, seed: int, data: Path | None) -> Measurements:
        train, valid, users, films = read(data)
        last = late(train.user)
        early, held = train.take(~last), train.take(last)

        def error(seen: Ratings, asked: Ratings, features: int, offsets: float, vectors: float = 0.0) -> float:
            torch.manual_seed(seed)
            model = Factors(users, films, features, seen.stars.mean())

            def loss() -> Tensor:
                wrong = (model(seen.user, seen.film) - seen.stars).square().sum()
                large = offsets * squares(model.offsets) + vectors * squares(model.vectors)
                return (wrong + large) / len(seen.stars)

            fit(model, loss, self.steps, adam(model, self.rate))
            with torch.no_grad():
                return rms(model(asked.user, asked.film) - asked.stars)

        alone = [error(early, held, 0, some) for some in self.tried]
        offsets = self.tried[alone.index(min(alone))]
        both = [error(early, held, self.features, offsets, some) for some in self.tried]
        vectors = self.tried[both.index(min(both))]
        found = error(train, valid, self.features, offsets, vectors), error(train, valid, 0, offsets)
        return {
            UNSEEN: found[0],
            f"{UNSEEN} - that of offsets alone": found[0] - found[1],
            "error of offsets alone": found[1],
            "error of the mean alone": rms(train.stars.mean() - valid.stars),
            f"{HELD}, vectors": both,
            f"{HELD}, offsets": alone,
            "lambda of vectors": vectors,
            "lambda of offsets": offsets,
            "share of films not in training": float((~torch.isin(valid.film, train.film)).float().mean()),
        }

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "The last training ratings", "xlabel": "lambda", "xscale": "log", "ylabel": "error (stars)"},
            {"title": "Ratings that were not seen", "xlabel": "root mean square error (stars)"},
        )
        curves = {"of the offsets, alone": f"{HELD}, offsets", "of the vectors, beside them": f"{HELD}, vectors"}
        draw.lines(axes[0], results, self.tried, curves, "o")
        draw.ticks(axes[0], self.tried)
        names = {
            "mean": "error of the mean alone", "offsets": "error of offsets alone", "offsets and\nvectors": UNSEEN,
        }  # fmt: skip
        draw.bars(axes[1], results, names, ".3f")
        return figure


def squares(parameters: Iterable[Tensor]) -> Tensor:
    return torch.stack([x.square().sum() for x in parameters]).sum()


def rms(wrong: Tensor) -> float:
    return float(wrong.square().mean().sqrt())


def late(user: Tensor) -> Tensor:
    """Returns which ratings are among the last tenth of those of their user, which stand together and in order."""
    return torch.cat([torch.arange(n) >= n - n // 10 for n in map(int, torch.bincount(user))])


def read(folder: Path | None) -> tuple[Ratings, Ratings, int, int]:
    """Returns ratings to learn and ratings to guess, and the numbers of users and of films."""
    if folder is None:
        raise UserError(f"this experiment reads ratings of films; give --data DIR, a folder with {' and '.join(FILES)}")
    train, valid = (rows(folder / name) for name in FILES)
    twice = {row[:2] for row in train} & {row[:2] for row in valid}
    if twice:
        raise UserError(
            f"{folder}: user and film {min(twice)} are in both {' and '.join(FILES)}; leave one of them out"
        )
    ids = [{each: i for i, each in enumerate(sorted({row[k] for row in train + valid}))} for k in (0, 1)]

    def made(found: list[Row]) -> Ratings:
        user, film = (torch.tensor([ids[k][row[k]] for row in found]) for k in (0, 1))
        return Ratings(user, film, torch.tensor([stars for _, _, stars, _ in found]))

    return made(train), made(valid), len(ids[0]), len(ids[1])


def rows(path: Path) -> list[Row]:
    """Returns user, film, stars and time, by user and time. Raises UserError for a line that is not that."""
    found = list[Row]()
    for number, line in enumerate(lines(path, 1 << 62), 1):
        match = RATING.fullmatch(line)
        if match is not None:
            user, film, stars, time = match.groups()
            found.append((int(user), int(film), float(stars), int(time)))
        elif number > 1 or line != HEADER:
            raise UserError(
                f"{path}, line {number}, is {line[:40]!r}, which is no {HEADER} with 0.5 to 5 stars; give ratings as "
                "of MovieLens"
            )
    if max(Counter(row[0] for row in found).values(), default=0) < 10 and path.name == FILES[0]:
        raise UserError(f"{path} has no user with ten ratings; give more of them")
    if not found:
        raise UserError(f"{path} has no ratings; give some")
    return sorted(found, key=lambda row: (row[0], row[3]))
