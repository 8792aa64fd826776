"""Means over played episodes, with an interval that holds them."""

from types import SimpleNamespace
from typing import Any

import pytest

from transduce.tasks.measures.returns import MeanReturn, Reached


def outcome(played: list[tuple[float, bool | None]]) -> Any:
    rows = [SimpleNamespace(beside=SimpleNamespace(returned=value, reached=there)) for value, there in played]
    return SimpleNamespace(samples=rows)


def test_means_of_what_was_earned_and_of_goals() -> None:
    played = outcome([(10.0, True), (20.0, False), (60.0, True), (30.0, None)])
    assert MeanReturn().of(played).value == pytest.approx(30.0)
    assert Reached().of(played).value == pytest.approx(0.5)
    drawn = MeanReturn().of(played, draws=500)
    assert 10.0 <= drawn.low < 30.0 < drawn.high <= 60.0
    alike = MeanReturn().of(outcome([(7.0, True)] * 5), draws=100)
    assert (alike.low, alike.value, alike.high) == (7.0, 7.0, 7.0)


def test_a_return_that_is_no_number_is_no_mean() -> None:
    assert not MeanReturn().of(outcome([(float("nan"), True), (1.0, True)])).means
