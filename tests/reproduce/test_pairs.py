"""Scores of pairs, made wrong on purpose: the marks must see it."""

from pathlib import Path

import pytest

from transduce.errors import UserError
from transduce.reproduce.experiments import pair_scores
from transduce.reproduce.pairs import foreign, shuffled
from transduce.transducer import Transducer

from .conftest import small


def test_wrong_pairs_are_wrong() -> None:
    pairs = [("a", "x y z"), ("b", "w"), ("c", "u u"), ("d", "p q")]
    wrong = shuffled(pairs, seed=0)
    assert [sorted(target.split()) for _, target in wrong] == [sorted(target.split()) for _, target in pairs]
    assert [a == b for a, b in zip(wrong, pairs, strict=True)] == [False, True, True, False]
    assert foreign(pairs) == [("a", "p q"), ("b", "x y z"), ("c", "w"), ("d", "u u")]


def test_scores_that_leave_out_a_token_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = small("pair-scores")
    sums = {pair_scores.STEPS, pair_scores.PERPLEXITY}
    measured = experiment.measure(0, None)
    assert all(mark.holds([measured]) for mark in experiment.marks if mark.what in sums)
    real = Transducer.score

    def score(self: Transducer, pairs: list[tuple[str, str]]) -> list[object]:
        return [found._replace(total=found.total - found.tokens[-1]) for found in real(self, pairs)]

    monkeypatch.setattr(Transducer, "score", score)
    wrong = experiment.measure(0, None)
    assert not any(mark.holds([wrong]) for mark in experiment.marks if mark.what in sums)


def test_pairs_that_are_not_given(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give --data DIR, a folder with train\.de, train\.en"):
        small("translation-scores").measure(0, None)
    with pytest.raises(UserError, match=r"train\.de"):
        small("translation-scores").measure(0, tmp_path)
