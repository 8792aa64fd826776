"""Ratings of films: reading them, the order in time, and marks that see what was made wrong."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from transduce.config import from_data
from transduce.errors import UserError
from transduce.reproduce.experiment import Experiment, named
from transduce.reproduce.experiments import movie_ratings
from transduce.reproduce.experiments.movie_ratings import FILES, HEADER, UNSEEN, Factors, Ratings, late, read
from transduce.reproduce.mark import Measurements


def missed(measured: Measurements) -> set[str]:
    return {mark.what for mark in named("movie-ratings").marks if not mark.holds([measured])}


@pytest.fixture
def experiment() -> Experiment:
    return from_data(named("movie-ratings"), {"steps": 100, "tried": [1, 10]})


def test_tastes_that_are_a_product_are_found(ratings: Path, experiment: Experiment) -> None:
    measured = experiment.measure(0, ratings)
    assert not missed(measured)
    assert measured["error of offsets alone"] > 1.4, "which are of no use here"
    assert measured["share of films not in training"] == pytest.approx(1 / 81)


def test_vectors_that_are_not_multiplied_are_seen(
    ratings: Path, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Factors.forward

    def without(model: Factors, user: Tensor, film: Tensor) -> Tensor:
        return real(model, user, film) - (model.vectors[0][user] * model.vectors[1][film]).sum(-1)

    monkeypatch.setattr(Factors, "forward", without)
    assert missed(experiment.measure(0, ratings)) == {UNSEEN, f"{UNSEEN} - that of offsets alone"}


def test_ratings_of_other_films_are_seen(
    ratings: Path, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mixed(folder: Path) -> tuple[Ratings, Ratings, int, int]:
        train, valid, users, films = read(folder)
        order = torch.randperm(len(train.stars), generator=torch.Generator().manual_seed(0))
        return train._replace(stars=train.stars[order]), valid, users, films

    monkeypatch.setattr(movie_ratings, "read", mixed)
    assert UNSEEN in missed(experiment.measure(0, ratings))


def test_validation_ratings_choose_nothing(
    ratings: Path, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(folder: Path) -> tuple[Ratings, Ratings, int, int]:
        train, valid, users, films = read(folder)
        return train, valid._replace(stars=valid.stars - 1), users, films

    before = experiment.measure(0, ratings)
    monkeypatch.setattr(movie_ratings, "read", other)
    after = experiment.measure(0, ratings)
    assert {name for name in before if before[name] != after[name]} == {
        UNSEEN, f"{UNSEEN} - that of offsets alone", "error of offsets alone", "error of the mean alone",
    }  # fmt: skip


def test_the_model_is_what_is_written() -> None:
    torch.manual_seed(0)
    model = Factors(3, 4, 2, torch.tensor(3.5))
    user, film = torch.tensor([2, 0]), torch.tensor([1, 3])
    with torch.no_grad():
        model.offsets[0][2], model.offsets[1][1] = 0.5, -1
        u, f = model.vectors
        assert model(user, film).tolist() == pytest.approx([3.0 + float(u[2] @ f[1]), 3.5 + float(u[0] @ f[3])])


def test_the_last_tenth_of_each_user_by_time(tmp_path: Path) -> None:
    assert late(torch.tensor([0] * 20 + [1] * 9 + [3] * 10)).nonzero()[:, 0].tolist() == [18, 19, 38]
    rows = [f"{user},{film},3,{100 - film}" for user in (12, 7) for film in range(1, 11)]
    written(tmp_path, "\n".join([HEADER, *rows]), f"{HEADER}\n7,99,4.5,200\n")
    train, valid, users, films = read(tmp_path)
    assert (users, films) == (2, 11)
    assert train.user.tolist() == [0] * 10 + [1] * 10
    assert train.film.tolist() == [*range(9, -1, -1)] * 2, "the later a film, the smaller its number"
    assert valid == (torch.tensor([0]), torch.tensor([10]), torch.tensor([4.5]))


def written(folder: Path, *texts: str) -> None:
    for name, text in zip(FILES, texts, strict=True):
        (folder / name).write_text(text, "utf-8")


TEN = "\n".join([HEADER, *(f"1,{film},3.0,5" for film in range(10))])


@pytest.mark.parametrize(
    ("train", "valid", "told"),
    [
        ("the quick brown fox\n", TEN, r"ratings_train\.csv, line 1, is 'the quick brown fox', which is no userId,mov"),
        (TEN, f"{HEADER}\n1,2,5.5,3\n", r"ratings_valid\.csv, line 2, is '1,2,5\.5,3', which is no .* 0\.5 to 5 stars"),
        (TEN, f"{HEADER}\n1,20,nan,3\n", "line 2, is '1,20,nan,3'"),
        (TEN, f"{HEADER}\n1,20,4\n", "line 2, is '1,20,4'"),
        (f"{HEADER}\n{HEADER}\n", TEN, "line 2, is 'userId"),
        (f"{HEADER}\n1,2,3.0,4\n", TEN, r"ratings_train\.csv has no user with ten ratings"),
        (TEN, f"{HEADER}\n", r"ratings_valid\.csv has no ratings; give some"),
        (
            TEN,
            f"{HEADER}\n1,9,3.0,6\n",
            r"user and film \(1, 9\) are in both ratings_train\.csv and ratings_valid\.csv",
        ),
    ],
)
def test_other_text_is_refused(tmp_path: Path, experiment: Experiment, train: str, valid: str, told: str) -> None:
    written(tmp_path, train, valid)
    with pytest.raises(UserError, match=told):
        experiment.measure(0, tmp_path)


def test_a_folder_must_be_given(tmp_path: Path, experiment: Experiment) -> None:
    with pytest.raises(UserError, match=r"give --data DIR, a folder with ratings_train\.csv and ratings_valid\.csv"):
        experiment.measure(0, None)
    with pytest.raises(UserError, match=r"ratings_train\.csv does not exist"):
        experiment.measure(0, tmp_path)
