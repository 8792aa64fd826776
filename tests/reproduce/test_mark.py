import json
import math

import pytest

from transduce.reproduce.mark import Mark, finite, number
from transduce.reproduce.page import spread


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
        (Mark("x", ">=", 0.5), ["-inf"], False),
        (Mark("x", "<=", 0.5), ["-inf"], True),
        *((Mark("x", relation, 0.5), ["nan"], False) for relation in ("<=", ">=", "=")),
        *((Mark("x", relation, 0.5, over="the mean"), ["nan", 0.5], False) for relation in ("<=", ">=", "=")),
        (Mark("x", ">=", 0.5, over="the mean"), ["-inf", None], False),
        (Mark("x", ">=", 0.5), [math.nan], False),  # before it has been written down
    ],
)
def test_every_seed_or_the_mean(mark: Mark, values: list[float | str | None], holds: bool) -> None:
    assert mark.holds([{"x": value, "y": 0.0} for value in values]) is holds


def test_what_a_reader_sees() -> None:
    assert str(Mark("x", "<=", 800)) == "<= 800 in every seed"
    assert str(Mark("x", ">=", 0.02, over="the mean", proposed=True)) == ">= 0.02 in the mean (proposed)"
    assert [number(x) for x in (0.12345, 60000.0, 1234.5, 3e30, math.inf, -math.inf, math.nan)] == [
        "0.123", "60,000", "1,234", "3e+30", "never", "-infinity", "not a number",
    ]  # fmt: skip


def test_json_tells_never_from_not_a_number() -> None:
    found = finite({"a": [math.nan, 1.23456789, (math.inf, -math.inf)], "b": 7, "c": None})
    assert found == {"a": ["nan", 1.23457, [None, "-inf"]], "b": 7, "c": None}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_reader_sees_which_seed_failed() -> None:
    results = [{"x": "nan"}, {"x": 2.0}, {"x": 3.0}]
    assert spread(Mark("x", "<=", 5), results) == "not a number (2 to 3)"
    assert spread(Mark("x", "<=", 5), results[:1]) == "not a number"
    assert spread(Mark("x", "<=", 5), [{"x": None}, {"x": 2.0}]) == "never (2 to never)"
