"""Sentences for or against: reading them, padding, naive Bayes, and marks that see what was made wrong."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.heads import pooled
from transduce.model.layout import Layout, dense
from transduce.reproduce.experiment import Experiment, named
from transduce.reproduce.experiments import sentence_polarity
from transduce.reproduce.experiments.sentence_polarity import shuffled
from transduce.reproduce.reviews import Reviews, bayes, labelled, read


def missed(folder: Path, **settings: Any) -> set[str]:
    """The measurements that do not meet their marks."""
    usual = {"width": 32, "heads": 4, "steps": 40, "rate": 3e-3, "warm_up": 5, "batch": 8}
    experiment: Experiment = from_data(named("sentence-polarity"), usual | settings)
    measured = experiment.measure(0, folder)
    return {mark.what for mark in experiment.marks if not mark.holds([measured])}


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_padding_that_is_seen_is_measured(reviews: Path, monkeypatch: pytest.MonkeyPatch, pool: str) -> None:
    assert not missed(reviews, pool=pool)
    monkeypatch.setattr(Reviews, "layout", property(lambda found: dense(*found.ids.shape)))
    assert "change of logits when padded further" in missed(reviews, pool=pool, tokens=64)


def test_pooling_over_padding_alone_is_measured(reviews: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pooled.pooled

    def over_all(hidden: Tensor, layout: Layout, names: tuple[str, ...]) -> Tensor:
        return real(hidden, dense(*layout.positions.shape), names)

    monkeypatch.setattr(pooled, "pooled", over_all)
    assert missed(reviews) == {"change of logits when padded further"}


def test_a_network_that_is_told_wrong_labels_is_seen(reviews: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(folder: Path, tokens: int) -> tuple[Reviews, Reviews, int]:
        train, valid, words = read(folder, tokens)
        return train._replace(labels=1 - train.labels), valid, words

    monkeypatch.setattr(sentence_polarity, "read", wrong)
    assert missed(reviews) == {
        "accuracy on the validation sentences",
        "accuracy - that of the commoner label",
    }


def test_words_that_training_has_twice_are_known(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("1 b a b c\n0 a rare\n", "utf-8")
    (tmp_path / "valid.txt").write_text("0 c\n1 b new a\n", "utf-8")
    train, valid, words = read(tmp_path, 3)
    assert words == 3
    assert train.ids.tolist() == [[2, 1, 2], [1, 0, 0]], "of each sentence three words"
    assert train.lengths.tolist() == [3, 2]
    assert valid.ids.tolist() == [[0, 0, 0], [2, 0, 1]]
    assert valid.labels.tolist() == [0, 1]
    assert valid.take(torch.tensor([0])).ids.tolist() == [[0]]


def test_naive_bayes_counts_a_word_of_a_sentence_once() -> None:
    def made(rows: list[list[int]], labels: list[int]) -> Reviews:
        lengths = [len(row) for row in rows]
        grid = [row + [0] * (max(lengths) - len(row)) for row in rows]
        return Reviews(torch.tensor(grid), torch.tensor(lengths), torch.tensor(labels))

    train = made([[1, 1, 1], [2], [2, 1], [2]], [1, 1, 0, 0])  # word 1 beside: 1 of 2, and 1 of 3
    assert bayes(train, made([[1], [2], [1, 2, 2]], [1, 0, 1]), 3).tolist() == [1, 0, 0]


def test_every_sentence_comes_once_before_any_comes_twice() -> None:
    drawn = shuffled(10, 4, torch.Generator().manual_seed(0))
    rounds = [torch.cat([next(drawn) for _ in range(3)]) for _ in range(2)]
    assert all(each.sort().values.tolist() == list(range(10)) for each in rounds)
    assert not torch.equal(*rounds)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "1 a film\nthe quick brown fox\n",
            r"t\.txt, line 2, is 'the quick brown fox', which is not 0 or 1",
        ),
        ("1 a film\n\n0 dull\n", "line 2, is '', which is not 0 or 1"),
        ("1\ta film\n", r"line 1, is '1\\ta film', which is not 0 or 1"),
        ("2 a film\n", "line 1, is '2 a film', which is not 0 or 1"),
        ("1 \n", "line 1, is '1 ', which is not 0 or 1, a space and a sentence; give a folder with lines such as"),
        ("1 a film\n1 funny\n", "has sentences of label 1 alone; give it some of both"),
    ],
)
def test_other_text_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "t.txt").write_text(text, "utf-8")
    with pytest.raises(UserError, match=told):
        labelled(tmp_path / "t.txt")


def test_a_folder_must_be_given() -> None:
    with pytest.raises(UserError, match="this experiment reads sentences; give --data DIR"):
        named("sentence-polarity")().measure(0, None)
