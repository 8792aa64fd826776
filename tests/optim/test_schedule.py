import math

import pytest

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.optim.schedule import (
    Constant,
    Cosine,
    InverseSqrt,
    Linear,
    ScheduleConfig,
    SlantedTriangular,
    WarmupStableDecay,
)


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


@pytest.mark.parametrize(("steps", "cut_frac", "ratio"), [(1000, 0.1, 32), (40, 0.25, 8)])
def test_the_slanted_triangle_is_the_formula_of_the_paper(steps: int, cut_frac: float, ratio: float) -> None:
    """Howard and Ruder 2018, eq. 3, with a peak rate of 1."""
    triangle, cut = SlantedTriangular(cut_frac=cut_frac, ratio=ratio).resolve(steps), math.floor(steps * cut_frac)
    for t in range(1, steps + 1):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        assert triangle.factor(t) == pytest.approx((1 + p * (ratio - 1)) / ratio, rel=1e-12)
    assert [triangle.factor(t) for t in (cut, steps, steps + 9)] == pytest.approx([1, 1 / ratio, 1 / ratio])


@pytest.mark.parametrize("steps", [1, 2, 9, 19, 109])
def test_a_slanted_triangle_of_any_length_has_a_peak_and_ends_at_its_lowest(steps: int) -> None:
    factors = [SlantedTriangular(steps=steps).factor(t) for t in range(1, steps + 1)]
    assert max(factors) == 1.0
    assert min(factors) >= 1 / 32
    assert steps == 1 or factors[-1] == pytest.approx(1 / 32)


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
        ("slanted-triangular", {"cut_frac": 1.0}, "cut_frac=1.0 is the share"),
        ("slanted-triangular", {"ratio": 0.5}, "ratio=0.5 is the highest rate over the lowest"),
    ],
)
def test_refusals(kind: str, values: dict[str, float], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        from_data(kinds(ScheduleConfig.folder)[kind], values)
