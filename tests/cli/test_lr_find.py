"""The range test of learning rates: what it suggests, and that it touches nothing."""

from pathlib import Path

import numpy as np
import pytest

from transduce import api
from transduce.errors import UserError
from transduce.training.range_test import Range, grown, smoothed

from .conftest import DATES

FAST = [*DATES, "--updates", "40", "--low", "1e-5"]


def test_it_draws_and_suggests_and_writes_nothing_else(cli) -> None:
    found = cli("lr-find", *FAST)
    assert found.code == 0, found.err
    assert "try optimizer.learning_rate=" in found.out
    assert [path.name for path in Path().iterdir()] == ["lr-find.png"]
    assert Path("lr-find.png").stat().st_size > 5000
    assert cli("lr-find", *FAST).out == found.out  # the same losses each time


def test_a_run_that_is_there_is_not_touched(cli, dates: Path) -> None:
    before = {path: path.read_bytes() for path in dates.rglob("*") if path.is_file()}
    assert cli("lr-find", dates, *DATES[1:], "--updates", "20", "--high", "0.01").code == 0
    assert {path: path.read_bytes() for path in dates.rglob("*") if path.is_file()} == before


def test_the_first_loss_is_that_of_the_start_and_rates_rise_by_one_factor() -> None:
    over = {"data.train_size": 64, "data.valid_size": 8, "data.test_size": 8, "model.width": 16, "train.threads": 1}
    found = api.lr_find("dates", over, low=1e-9, high=1e-8, updates=20)
    ratios = np.diff(np.log(found.rates))
    assert ratios == pytest.approx(np.full(19, ratios[0]))
    assert np.ptp(found.losses[:2]) < 1  # at such rates nothing is learnt
    with pytest.raises(UserError, match="give two above 0"):
        api.lr_find("dates", over, low=1.0, high=0.1)


def test_what_a_curve_says() -> None:
    rates = np.geomspace(1e-6, 1.0, 61).tolist()
    x = np.log10(rates)
    losses = (3 - 2 / (1 + np.exp(-4 * (x + 3))) + np.exp(6 * (x + 1))).tolist()  # falls around 1e-3, grows from 1e-1
    found = Range(rates, losses, smoothed(losses, 1.0), 1e-3)
    assert found.steepest == pytest.approx(1e-3, rel=0.3)
    assert 5e-3 < found.smallest < 5e-2
    assert found.suggestion == min(found.smallest / 10, found.steepest)
    rising = sorted(losses)
    assert Range(rates, rising, rising, 1e-3).suggestion is None
    assert smoothed([2.0] * 9, 3.0) == pytest.approx([2.0] * 9)
    assert not grown([1.0] * 30)
    assert grown([1.0] * 10 + [9.0] * 5)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--low", "1", "--high", "0.1"], "the rates go from 1 to 0.1; give two above 0, the smaller one first"),
        (["--low", "0"], "the rates go from 0 to 1; give two above 0"),
        (["--updates", "5"], "5 updates are too few to see a curve; use 100, or 20 at least"),
        (["--low", "1e9", "--high", "1e12"], "grows from the first updates on, at a rate of 1e+09; give a smaller"),
        (["model.widht=3"], "did you mean `model.width`?"),
    ],
)
def test_what_does_not_fit_is_one_sentence(cli, words: list[str], sentence: str) -> None:
    found = cli("lr-find", *DATES, *words)
    assert found.code != 0
    assert sentence in found.err
    assert not any(Path().iterdir())
