"""Products in fewer bits obey their law at every size, and at the numbers that would break it first."""

import pytest
import torch
from torch import Tensor

from transduce.precision.codes import GROUP, Int8, round_int4, round_int8
from transduce.precision.compensate import compensate_int4
from transduce.precision.maps import Int4Map, Int8Map, LowMap
from transduce.testing.precision import int4_codes, int4_product, int8_codes, int8_product

SIZES = [(1, 1), (1, 33), (50, 33), (7, 31), (16, 32), (33, 64), (13, 769), (100, 257), (48, 1100)]
ROWS = (1, 2, 5, 16, 33)
KINDS = ["normal", "one sign", "alternating", "an outlier", "zeros", "tiny", "rows of zeros"]


def matrix(kind: str, rows: int, columns: int) -> Tensor:
    w = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows + columns))
    if kind == "one sign":
        return torch.ones(rows, columns)
    if kind == "alternating":
        return torch.ones(rows, columns) * (-1.0) ** torch.arange(columns)
    if kind == "an outlier":
        w[:, 0] = 100.0
    if kind == "zeros":
        return torch.zeros(rows, columns)
    if kind == "tiny":
        return w * 1e-12
    if kind == "rows of zeros":
        w[::2] = 0.0
    return w


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("size", SIZES)
def test_eight_bits_obey_their_law(kind: str, size: tuple[int, int]) -> None:
    weight, bias = matrix(kind, *size), torch.randn(size[0])
    made = round_int8(weight)
    int8_codes(weight, made)
    for rows in ROWS:
        for inputs in KINDS:
            x = matrix(inputs, rows, size[1])
            int8_product(weight, bias, made, x)
            int8_product(weight, None, made, x)


@pytest.mark.parametrize("size", SIZES)
def test_four_bits_obey_their_law(kind: str, size: tuple[int, int]) -> None:
    weight, bias = matrix(kind, *size), torch.randn(size[0])
    made = round_int4(weight)
    assert made.codes.shape[1] % GROUP == 0
    int4_codes(weight, made)
    for rows in ROWS:
        for inputs in ("normal", "an outlier", "rows of zeros"):
            int4_product(bias, made, matrix(inputs, rows, size[1]))
            int4_product(None, made, matrix(inputs, rows, size[1]))


@pytest.mark.parametrize("columns", [33, 768, 3072])
def test_the_sum_of_bytes_is_exact_where_pairs_are_as_large_as_they_may_be(columns: int) -> None:
    """Two neighbours of 127 would give 255 * 254, which 16 bits do not hold; here they are 64 and 64, and exact."""
    made = round_int8(torch.ones(40, columns))
    got = Int8Map(made, None)(torch.ones(3, columns)).double()
    exact = 127.0 * made.codes.double().sum(1) * made.scale.double() / 127
    torch.testing.assert_close(got, exact.expand(3, -1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [(50, 33), (96, 256), (768, 768)])
def test_a_row_has_the_same_bits_alone_and_among_others(size: tuple[int, int]) -> None:
    weight, bias = matrix("normal", *size), torch.randn(size[0])
    for product in (Int8Map(round_int8(weight), bias), Int4Map(round_int4(weight), bias, size[1])):
        x = matrix("an outlier", 33, size[1]) * torch.logspace(-3, 3, 33)[:, None]
        together = product(x)
        for count in (1, 2, 3, 7, 16, 32):
            for start in (0, 1, 33 - count):
                assert torch.equal(product(x[start : start + count]), together[start : start + count])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(33,), (4, 33), (2, 3, 33), (0, 33), (2, 0, 33)])
def test_results_have_the_shape_and_the_type_of_a_linear_map(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    weight, bias, x = matrix("normal", 20, 33), torch.randn(20), torch.randn(shape).to(dtype)
    for product in (
        LowMap(weight, bias), Int8Map(round_int8(weight), bias), Int4Map(round_int4(weight), bias, 33),
    ):  # fmt: skip
        y = product(x)
        assert y.shape == (*shape[:-1], 20)
        assert y.dtype == dtype
        torch.testing.assert_close(y.float(), x.float() @ weight.T + bias, atol=1.5, rtol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    weight, x = matrix("normal", 20, 64), torch.randn(3, 64)
    x[1, 5] = bad
    for product in (
        LowMap(weight, None), Int8Map(round_int8(weight), None), Int4Map(round_int4(weight), None, 64),
    ):  # fmt: skip
        finite = product(x).isfinite().all(1)
        assert finite.tolist() == [True, False, True]


def test_products_of_bytes_are_the_same_by_any_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows and many, with FBGEMM, with oneDNN, and with neither; a tail of features and of columns."""
    for features, columns in ((50, 33), (64, 96), (101, 256)):
        weight, bias, x = matrix("normal", features, columns), torch.randn(features), torch.randn(40, columns)
        made = {"as it is": Int8Map(round_int8(weight), bias)}
        with monkeypatch.context() as without:
            without.setattr("transduce.precision.maps.multiplies_many_bytes", lambda: False)
            made["without oneDNN"] = Int8Map(round_int8(weight), bias)
            without.setattr("transduce.precision.maps.multiplies_bytes", lambda: False)
            made["without both"] = Int8Map(round_int8(weight), bias)
        assert made["without oneDNN"].many is None
        assert made["without both"].few is None
        expected = made["without both"](x)
        for name, product in made.items():
            for rows in (1, 5, 8, 40):
                assert torch.equal(product(x[:rows]), expected[:rows]), (name, rows, features)


@pytest.mark.parametrize("size", [(20, 33), (40, 96), (16, 256)])
def test_compensated_codes_change_the_product_less(size: tuple[int, int]) -> None:
    """Inputs whose columns go together leave room to make up for errors."""
    generator = torch.Generator().manual_seed(2)
    mixing = torch.randn(6, size[1], generator=generator)
    x = torch.randn(500, 6, generator=generator) @ mixing + 0.1 * torch.randn(500, size[1], generator=generator)
    weight = matrix("normal", *size)
    gram = x.T @ x

    def change(made) -> float:
        return float((x @ (made.numbers()[:, : size[1]] - weight).T).square().mean())

    plain, made = round_int4(weight), compensate_int4(weight, gram)
    assert made.codes.shape == plain.codes.shape
    assert change(made) < 0.6 * change(plain)


def test_a_column_that_is_never_used_disturbs_nothing() -> None:
    weight, x = matrix("normal", 20, 64), torch.randn(300, 64)
    x[:, 7] = 0.0
    made = compensate_int4(weight, x.T @ x)
    assert made.numbers().isfinite().all()
    assert float((made.numbers() - weight).abs().max()) < 1.0


def test_codes_are_a_function_of_the_matrix_alone() -> None:
    weight = matrix("normal", 33, 100)
    for make in (round_int8, round_int4):
        first, again = make(weight), make(weight.clone())
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert isinstance(round_int8(weight), Int8)
