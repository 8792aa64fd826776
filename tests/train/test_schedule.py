import math

import pytest

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.train.schedule import Constant, Cosine, InverseSqrt, Linear, ScheduleConfig, WarmupStableDecay


def test_inverse_sqrt_is_the_formula_of_the_paper() -> None:
    """Vaswani et al. 2017, eq. 3: d^-0.5 min(s^-0.5, s w^-1.5), whose peak is (d w)^-0.5."""
    peak = (512 * 4000) ** -0.5
    assert peak == pytest.approx(6.987e-4, abs=1e-7)
    for step in (1, 2, 1000, 3999, 4000, 4001, 100_000):
        paper = 512**-0.5 * min(step**-0.5, step * 4000**-1.5)
        assert peak * InverseSqrt(warmup_steps=4000).factor(step) == pytest.approx(paper, rel=1e-12)


def test_closed_forms() -> None:
    cosine = Cosine(warmup_steps=10, steps=110, final=0.1)
    assert [cosine.factor(s) for s in (5, 10, 60, 110, 500)] == pytest.approx([0.5, 1, 0.55, 0.1, 0.1])
    assert cosine.factor(35) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 4)))
    assert [Linear(steps=100).factor(s) for s in (0, 25, 100)] == pytest.approx([1, 0.75, 0])
    stable = WarmupStableDecay(warmup_steps=10, steps=100, decay=0.2)
    assert [stable.factor(s) for s in (1, 10, 50, 80, 85, 100)] == pytest.approx([0.1, 1, 1, 1, 0.5, 0])
    assert Constant(warmup_steps=4).factor(2) == 0.5
    assert Constant().factor(1) == 1.0


@pytest.mark.parametrize("kind", kinds(ScheduleConfig.folder))
def test_every_schedule_rises_to_one_and_stays_between_zero_and_one(kind: str) -> None:
    schedule = kinds(ScheduleConfig.folder)[kind](warmup_steps=7).resolve(100)  # type: ignore[attr-defined]
    factors = [schedule.factor(step) for step in range(1, 130)]
    assert factors[6] == pytest.approx(1.0)
    assert factors[:7] == sorted(factors[:7])
    assert all(0 <= f <= 1 for f in factors)
    assert factors[7:] == sorted(factors[7:], reverse=True)


def test_the_end_of_training_is_filled_in_once() -> None:
    assert Cosine().resolve(500).steps == 500
    assert Cosine(steps=300).resolve(500).steps == 300


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        ("cosine", {"steps": 10, "warmup_steps": 10}, "no room for warmup_steps=10; use schedule.warmup_steps=1"),
        ("constant", {"warmup_steps": -1}, "warmup_steps=-1 is negative"),
        ("warmup-stable-decay", {"decay": 0.0}, "decay=0.0 is the share"),
    ],
)
def test_refusals(kind: str, values: dict[str, float], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        from_data(kinds(ScheduleConfig.folder)[kind], values)
