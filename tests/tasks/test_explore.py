"""Rewards that are computed, and the measure that is their mean."""

from typing import Any

import pytest

from transduce.config import from_data, kinds, to_data
from transduce.errors import UserError
from transduce.tasks.explore import ExploreConfig, MeanReward
from transduce.tasks.measures.measure import Outcome, Sample
from transduce.tasks.rewards.function import FunctionReward
from transduce.tasks.rewards.measure import MeasureReward
from transduce.tasks.rewards.source import RewardSource


def lengths(prompts: list[str], answers: list[str], expected: list[str]) -> list[Any]:
    return [len(text) for text in answers]


def test_exact_and_bleu() -> None:
    exact = MeasureReward().rewards(["q"] * 3, ["4", " 4\n", "5"], ["4", "4", "4"])
    assert exact == [1.0, 1.0, 0.0]
    same, part, none = MeasureReward(name="bleu").rewards(
        ["q"] * 3, ["a b c d e", "a b c x y", "z"], ["a b c d e", "a b c d e", "a b"]
    )
    assert same == pytest.approx(1.0)
    assert 0 <= none < part < same
    assert MeasureReward().rewards([], [], []) == []


def test_a_function() -> None:
    reward = FunctionReward(name="tests_lengths:lengths")
    with pytest.raises(UserError, match=r"tests_lengths:lengths cannot be imported \(ModuleNotFoundError"):
        reward.rewards(["q"], ["a"], ["b"])
    import sys
    import types

    module: Any = types.ModuleType("tests_lengths")
    module.lengths, module.wrong = lengths, lambda *_: ["high"]
    sys.modules["tests_lengths"] = module
    assert reward.rewards(["q", "r"], ["ab", ""], ["", ""]) == [2.0, 0.0]
    with pytest.raises(UserError, match="the reward of 'a' to 'q' is 'high', but a finite number is asked for"):
        FunctionReward(name="tests_lengths:wrong").rewards(["q"], ["a"], ["b"])
    with pytest.raises(UserError, match="gave 1 numbers for 2 answers"):
        FunctionReward(name="tests_lengths:wrong").rewards(["q"] * 2, ["a"] * 2, ["b"] * 2)


def test_kinds_are_written_and_read_again() -> None:
    assert set(kinds(RewardSource.folder)) == {"function", "measure", "run"}
    task = ExploreConfig(reward=MeasureReward(name="bleu"))
    assert from_data(ExploreConfig, {k: v for k, v in to_data(task).items() if k != "kind"}) == task


def test_the_mean_of_rewards() -> None:
    samples = [Sample("q", "4", "4"), Sample("q", "5", "4")]
    measured = MeanReward().of(Outcome(0.0, 2, None, samples), 50)  # type: ignore[arg-type]
    assert measured.value == 0.5
    assert measured.low is not None
