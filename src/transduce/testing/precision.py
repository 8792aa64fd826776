"""The law of products in fewer bits: how far they may be from the product in float32, derived from the steps of codes.

Nothing is tuned: a code is at most half a step from its number, a byte of x at most half a step from x, and every
rounding to a float adds one unit of its last place.
"""

from torch import Tensor

from transduce.precision.codes import MIDDLE, Int4, Int8, grouped, meant, nearest, padded
from transduce.precision.maps import Int4Map, Int8Map

FLOAT, BFLOAT = 2.0**-23, 2.0**-7  # the last place of a number of 1


def int8_product(weight: Tensor, bias: Tensor | None, matrix: Int8, x: Tensor) -> None:
    """|y - x W^T - b| <= step_w / 2 sum |x| + step_x / 2 sum |W'|, and the rounding of floats.

    weight: (N, K). x: (R, K). step_w: the scale of the row of W. step_x: max |x| of the row of x / 127.
    """
    y = Int8Map(matrix, bias)(x).double()
    numbers, exact = matrix.numbers().double(), x.double() @ weight.double().T
    step_x = x.double().abs().amax(1, keepdim=True) / 127
    bound = matrix.scale.double() / 2 * x.double().abs().sum(1, keepdim=True) + step_x / 2 * numbers.abs().sum(1)
    terms = x.double().abs() @ numbers.abs().T
    if bias is not None:
        exact, terms = exact + bias.double(), terms + bias.double().abs()
    excess = (y - exact).abs() - bound * (1 + 256 * FLOAT) - 8 * FLOAT * terms
    assert excess.max() <= 1e-30, f"int8: {float(excess.max()):.3g} beyond the bound"


def int8_codes(weight: Tensor, matrix: Int8) -> None:
    """Every code is nearest, and no pair of neighbours overflows 16 bits: 255 times their sum fits."""
    gap = (matrix.numbers().double() - weight.double()).abs()
    assert (gap <= matrix.scale.double()[:, None] / 2 * (1 + 256 * FLOAT)).all(), "int8: a code is not the nearest"
    codes = matrix.codes.long()
    pairs = padded(codes).reshape(len(codes), -1, 2)  # a zero behind overflows nothing
    assert pairs.clamp_min(0).sum(2).max() * 255 <= 32767, "int8: a pair of neighbours overflows"
    assert pairs.clamp_max(0).sum(2).min() * 255 >= -32768, "int8: a pair of neighbours overflows"


def int4_codes(weight: Tensor, matrix: Int4) -> None:
    """Every code is nearest, and no group is further from its numbers than on the scale of its whole range."""
    groups = grouped(padded(weight.float()))
    again = nearest(groups, matrix.scale, matrix.offset).flatten(1)
    assert (again == matrix.codes).all(), "int4: a code is not the nearest"
    step = ((groups.amax(2) - groups.amin(2)) / 15).clamp_min(1e-30).bfloat16()
    start = (groups.amin(2) + MIDDLE * step.float()).bfloat16()
    plain = (meant(nearest(groups, step, start), step, start) - groups).square().sum(2)
    ours = (grouped(matrix.numbers()) - groups).square().sum(2)
    assert (ours <= plain * (1 + 64 * FLOAT) + 1e-30).all(), "int4: a group is further from its numbers than need be"


def int4_product(bias: Tensor | None, matrix: Int4, x: Tensor) -> None:
    """|y - x W'^T - b| <= half a last place of bfloat16 each for x, for W' and for the product. x: (R, K)."""
    y = Int4Map(matrix, bias, x.shape[1])(x).double()
    numbers = matrix.numbers()[:, : x.shape[1]].double()
    exact, terms = x.double() @ numbers.T, x.double().abs() @ numbers.abs().T
    bound = 1.5 * BFLOAT * terms + (0.0 if bias is None else 4 * FLOAT * bias.double().abs())
    total = exact if bias is None else exact + bias.double()
    excess = (y - total).abs() - bound
    assert excess.max() <= 1e-30, f"int4: {float(excess.max()):.3g} beyond the bound"
