"""Numbers in bins: exact where they have few values, else within half a bin, or equally many in each."""

import numpy as np
import pytest

from transduce.data.readers.bins import Bins
from transduce.errors import UserError

DRAW = np.random.default_rng(0)


def test_a_number_of_few_values_keeps_them() -> None:
    values = np.stack([DRAW.choice([-11.0, -1.0], size=90), DRAW.choice([0.1, 0.2, 5.0], size=90)], 1)
    reader = Bins(bins=3).fit([values], "x")
    assert reader.sizes == (2, 3)
    assert np.array_equal(reader.numbers(reader.encode([values], "x").flat), values)
    assert reader.ids(np.array([[-4.0, 0.14]])).tolist() == [[1, 0]]


@pytest.mark.parametrize("bins", [2, 3, 100])
def test_bins_of_equal_width_err_by_half_a_bin_at_most(bins: int) -> None:
    values = DRAW.normal(size=(400, 2)) * [3, 0.1]
    reader = Bins(bins=bins).fit([values], "x")
    ids = reader.encode([values], "x").flat
    assert reader.sizes == (bins, bins)
    assert (ids.min(0).tolist(), ids.max(0).tolist()) == ([0, 0], [bins - 1] * 2)
    width = np.ptp(values, axis=0) / bins
    assert (np.abs(reader.numbers(ids) - values) <= width / 2 * (1 + 1e-9)).all()
    expected = np.minimum((values - values.min(0)) / width, bins - 1).astype(int)
    assert (np.abs(ids - expected) <= (np.abs((values - values.min(0)) / width % 1) < 1e-9)).all()
    assert reader.ids(np.array([[-1e9, 1e9]])).tolist() == [[0, bins - 1]]


@pytest.mark.parametrize("bins", [2, 3, 16])
def test_quantiles_hold_equally_many(bins: int) -> None:
    values = np.exp(DRAW.normal(size=(480, 1)))
    reader = Bins(bins=bins, edges="quantile").fit([values], "x")
    ids = reader.encode([values], "x").flat[:, 0]
    assert np.bincount(ids).tolist() == [480 // bins] * bins
    means = [values[ids == i].mean() for i in range(bins)]
    assert np.allclose(reader.levels[0], means)


def test_a_value_that_is_common_leaves_no_bin_empty() -> None:
    values = np.concatenate([np.zeros(900), DRAW.normal(size=100)])[:, None]
    reader = Bins(bins=10, edges="quantile").fit([values], "x")
    ids = reader.encode([values], "x").flat[:, 0]
    assert (np.bincount(ids, minlength=reader.sizes[0]) > 0).all()
    assert np.isfinite(reader.levels[0]).all()


def test_classes_and_places_are_one_id() -> None:
    whole, places = Bins(bins=2).fit([[0, 3], [1]], "x"), Bins().fit([np.eye(5), np.eye(5)[:2]], "x")
    assert (whole.classes, whole.places, whole.size, whole.sizes) == (4, False, 1, (4,))
    assert (places.classes, places.places, places.size, places.sizes) == (5, True, 5, (5,))
    numbers = Bins(numeric=True).fit([np.eye(5)], "x")
    assert (numbers.classes, numbers.size, numbers.sizes) == (0, 5, (2,) * 5)
    assert whole.encode([[2, 0]], "x").flat.tolist() == [[2], [0]]
    assert places.encode([np.eye(5)[[4, 1]]], "x").flat.tolist() == [[4], [1]]
    assert np.array_equal(places.numbers(np.array([[4], [1]])), np.eye(5)[[4, 1]])
    for odd in ([4], [0.5], [-1]):
        with pytest.raises(UserError, match=r"row 2 of the column `x` has .* every step is 0 to 3; leave it out"):
            whole.encode([[1], odd], "x")
    with pytest.raises(UserError, match=r"row 1 of the column `x` has .* every step is 1 in one place"):
        places.encode([[[1, 1, 0, 0, 0]]], "x")
    with pytest.raises(UserError, match="bins=1 must be at least 2"):
        Bins(bins=1)
