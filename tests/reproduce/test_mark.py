import math

import pytest

from transduce.reproduce.mark import Mark, finite, number


@pytest.mark.parametrize(
    ("mark", "values", "holds"),
    [
        (Mark("x", ">=", 0.5), [0.5, 0.9], True),
        (Mark("x", ">=", 0.5), [0.4, 0.9], False),
        (Mark("x", ">=", 0.5, over="the mean"), [0.4, 0.9], True),
        (Mark("x", "<=", 0.5), [0.4, 0.9], False),
        (Mark("x", "<=", 0.5, over="the mean"), [0.4, 0.6], True),
        (Mark("x", "=", 3), [3, 3.0], True),
        (Mark("x", "=", 3), [3, 4], False),
        (Mark("x", "<=", 800), [700, None], False),  # never reached is later than any update
        (Mark("x", "<=", 800, over="the mean"), [1, None], False),
        (Mark("x", ">=", 800), [None, None], True),
    ],
)
def test_every_seed_or_the_mean(mark: Mark, values: list[float | None], holds: bool) -> None:
    assert mark.holds([{"x": value, "y": 0.0} for value in values]) is holds


def test_what_a_reader_sees() -> None:
    assert str(Mark("x", "<=", 800)) == "<= 800 in every seed"
    assert str(Mark("x", ">=", 0.02, over="the mean", proposed=True)) == ">= 0.02 in the mean (proposed)"
    assert [number(x) for x in (0.12345, 60000.0, 1234.5, 3e30, math.inf)] == [
        "0.123", "60,000", "1,234", "3e+30", "never",
    ]  # fmt: skip


def test_json_holds_no_infinity() -> None:
    assert finite({"a": [math.nan, 1.23456789, (math.inf,)], "b": 7}) == {"a": [None, 1.23457, [None]], "b": 7}
